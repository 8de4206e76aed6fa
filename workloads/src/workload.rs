//! What every workload offers.

use checker::{Budget, CheckError, Finding, Requirements, Spec};
use history::History;

use crate::{Template, register::Register, set::Set};

/// What clients do, who judges it, and what a run needs to mean anything. One file implements it per workload.
pub trait Workload: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for `list workloads`.
    fn description(&self) -> &'static str;

    /// Operations per second, all workers together, when the user does not say.
    fn default_rate(&self) -> f64;

    /// The `i`-th template of a worker out of `workers`. Pure: it depends on the arguments alone.
    fn template(&self, seed: u64, worker: u32, workers: u32, i: u64) -> Template;

    /// Whether a worker goes on to the leader when its own node refuses.
    fn follows_hints(&self, _worker: u32, _workers: u32) -> bool {
        true
    }

    /// The final reads of one node, after everything was healed, given how many templates the busiest worker used.
    fn final_templates(&self, used: u64) -> Vec<Template>;

    /// Judges a history.
    ///
    /// # Errors
    /// When the history breaks the contract of this workload.
    fn check(&self, history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError>;

    /// The model whose linearizability is all that [`Self::check`] asks for; `None` when it asks for something else.
    fn model(&self) -> Option<Spec> {
        None
    }

    /// What a run with that much load must have exercised.
    fn requirements(&self, load_seconds: f64) -> Requirements;
}

/// Every workload, in the order of `list workloads`.
pub fn all() -> Vec<Box<dyn Workload>> {
    vec![Box::new(Register), Box::new(Set)]
}

/// The workload of that name.
pub fn find(name: &str) -> Option<Box<dyn Workload>> {
    all().into_iter().find(|workload| workload.name() == name)
}

/// `full` for runs of 20 seconds and more, and proportionally less for shorter ones, but never less than one.
pub(crate) fn scaled(full: u64, load_seconds: f64) -> u64 {
    const FULL_SECONDS: f64 = 20.0;
    let share = (load_seconds / FULL_SECONDS).clamp(0.0, 1.0);
    ((full as f64 * share) as u64).max(1)
}
