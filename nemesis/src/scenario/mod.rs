//! Directed scenarios: scripts of faults that wait for the state of the cluster in which a certain bug would show.
//!
//! `script` is the language, `shipped` the scenarios that come with the suite, `stage` performs steps. A scenario is a
//! fault like any other: the steps before the first change decide who plays which part, the first change is proven as its
//! evidence, the rest is done while it stands, and healing undoes whatever is left. Every step is recorded.
//!
//! A step that needs what is not there (nobody leads, a node is down because of another fault) ends the scenario: the
//! rest is recorded as skipped, with the reason, and it counts as having had no effect, so that a run in which no scenario
//! came to its end is `unknown`. A step that was done and cannot be proven is a failure, as for any fault.

mod script;
mod shipped;
mod stage;

use std::collections::BTreeMap;

pub(crate) use script::Script;
pub use script::ScriptError;
pub use shipped::{NoScenario, SHIPPED, Shipped};
use stage::{Halt, Stage};

use crate::fault::{Fault, FaultError, Request, Scope, Skip, Standing};
use crate::quorum::minority;
use crate::{Cluster, Kind, Nemesis};

/// How long the steps before the first change may take, in units: an election, and some time to see it.
const OPENING_UNITS: u32 = 10;

/// The scripts of the scenarios among some nemeses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scripts(BTreeMap<String, Script>);

impl Scripts {
    /// Reads them: shipped ones by their name, others from files.
    ///
    /// # Errors
    /// When one does not exist or is wrong.
    pub fn load(nemeses: &[Nemesis]) -> Result<Self, NoScenario> {
        let names =
            nemeses.iter().filter(|nemesis| nemesis.kind() == Kind::Scenario).filter_map(Nemesis::argument);
        names.map(|name| Ok((name.to_owned(), shipped::load(name)?))).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them changes who is a member, which takes a target that offers it.
    pub fn change_members(&self) -> bool {
        self.0.values().any(Script::changes_members)
    }

    /// The script of a scenario.
    pub(crate) fn get(&self, nemesis: &Nemesis) -> Option<&Script> {
        self.0.get(nemesis.argument()?)
    }
}

/// A scenario that is being played.
pub(crate) struct Scenario {
    scope: Scope,
    script: Script,
    stage: Stage,
    /// How many steps were done.
    done: usize,
    first_proof: String,
    /// Why the rest was not done.
    halted: Option<String>,
}

impl Fault for Scenario {
    const DIRECTED: bool = true;

    /// The selector of a scenario is its whole script in one line.
    async fn resolve<C: Cluster>(request: &Request<'_>, cluster: &C) -> Result<Self, Skip> {
        let name = request.argument.unwrap_or_default();
        let script = Script::parse(name, request.selector).map_err(|error| Skip(error.to_string()))?;
        let nodes = cluster.processes().nodes();
        if nodes.len() < script.nodes_needed {
            return Err(Skip(format!(
                "it needs {} nodes, and there are {}",
                script.nodes_needed,
                nodes.len()
            )));
        }
        let mut stage = Stage::new(request.id, request.seed);
        let done = open(&mut stage, cluster, &script).await?;
        let leaves_quorum = script.harms(nodes.len()) <= minority(nodes.len());
        let scope = Scope { nodes, detail: stage.cast(), leaves_quorum };
        Ok(Self { scope, script, stage, done, first_proof: String::new(), halted: None })
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn inject<C: Cluster>(&mut self, cluster: &C) -> Result<(), FaultError> {
        self.stage.prepare(cluster, &self.script).await?;
        let (_over, standing) = Standing::new();
        match self.step(cluster, &standing).await {
            Ok(proof) => self.first_proof = proof,
            Err(Halt::NotNow(reason)) => return Err(FaultError::NotProven(reason)),
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(())
    }

    async fn evidence<C: Cluster>(&mut self, _cluster: &C) -> Result<String, FaultError> {
        Ok(self.first_proof.clone())
    }

    async fn act<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<(), FaultError> {
        while self.done < self.script.steps.len() {
            match self.step(cluster, standing).await {
                Ok(seen) => standing.tell(seen).await,
                Err(Halt::NotNow(reason)) => {
                    self.halted = Some(reason);
                    break;
                }
                Err(Halt::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn effect<C: Cluster>(&self, _cluster: &C) -> Option<String> {
        let steps = self.script.steps.len();
        (self.done == steps).then(|| format!("all {steps} steps were done"))
    }

    fn unfinished(&self) -> Option<String> {
        let reason = self.halted.as_deref()?;
        let step = &self.script.steps[self.done].text;
        Some(format!("step {} of {}, `{step}`: {reason}", self.done + 1, self.script.steps.len()))
    }

    async fn heal<C: Cluster>(&mut self, cluster: &C) -> Result<String, FaultError> {
        self.stage.heal(cluster).await
    }
}

impl Scenario {
    /// Performs the next step; what was done and seen.
    async fn step<C: Cluster>(&mut self, cluster: &C, standing: &Standing) -> Result<String, Halt> {
        let line = &self.script.steps[self.done];
        let seen = self.stage.perform(cluster, &line.step, standing).await?;
        let done = format!("{}: {seen}", line.text);
        self.done += 1;
        Ok(done)
    }
}

/// Performs the steps before the first change; returns how many there are.
async fn open<C: Cluster>(stage: &mut Stage, cluster: &C, script: &Script) -> Result<usize, Skip> {
    let (over, standing) = Standing::new();
    let limit = cluster.unit() * OPENING_UNITS;
    let deadline = async {
        tokio::time::sleep(limit).await;
        over.send_replace(true);
        std::future::pending::<()>().await;
    };
    let steps = async {
        let mut done = 0;
        for line in script.steps.iter().take_while(|line| !line.step.changes()) {
            match stage.perform(cluster, &line.step, &standing).await {
                Ok(_) => done += 1,
                Err(Halt::NotNow(reason)) => return Err(Skip(format!("`{}`: {reason}", line.text))),
                Err(Halt::Failed(error)) => return Err(Skip(format!("`{}`: {error}", line.text))),
            }
        }
        Ok(done)
    };
    tokio::select! {
        () = deadline => unreachable!("invariant: it never ends"),
        opened = steps => opened,
    }
}
