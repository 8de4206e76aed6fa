//! What came of the runs: a table for people, JSON for programs, and an exit code.

use std::path::PathBuf;

use checker::RunOutcome;
use serde_json::{Value, json};

use crate::exit;

/// The server, or one of its mutants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub(super) mutant: Option<&'static str>,
    pub(super) title: &'static str,
    /// Whether it must not be convicted.
    pub(super) is_safe: bool,
}

/// One run.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) seed: u64,
    pub(super) workload: String,
    pub(super) nemesis: Vec<String>,
    pub(super) outcome: RunOutcome,
    pub(super) reason: String,
    pub(super) detected_by: Option<String>,
    /// When the anomaly had shown, after the beginning of the load.
    pub(super) seconds: Option<f64>,
    pub(super) report: PathBuf,
    pub(super) interrupted: bool,
}

/// All runs of all variants.
#[derive(Debug)]
pub(super) struct Table {
    variants: Vec<Variant>,
    trials: Vec<Vec<Trial>>,
    /// Runs for which there was no time.
    left_out: Vec<usize>,
}

/// What is known of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Detected,
    /// At least one run was decided, and none convicts it.
    NotDetected,
    /// No run was decided.
    NotRun,
}

impl Table {
    pub(super) fn new(variants: Vec<Variant>) -> Self {
        let trials = variants.iter().map(|_| Vec::new()).collect();
        let left_out = vec![0; variants.len()];
        Self { variants, trials, left_out }
    }

    pub(super) fn variants(&self) -> &[Variant] {
        &self.variants
    }

    pub(super) fn add(&mut self, variant: usize, trial: Trial) {
        self.trials[variant].push(trial);
    }

    /// Notes that there was no time for a run.
    pub(super) fn leave_out(&mut self, variant: usize) {
        self.left_out[variant] += 1;
    }

    fn finding(&self, variant: usize) -> Finding {
        let trials = &self.trials[variant];
        if trials.iter().any(|trial| trial.detected_by.is_some()) {
            return Finding::Detected;
        }
        let decided = |trial: &Trial| matches!(trial.outcome, RunOutcome::Valid | RunOutcome::Violation);
        if trials.iter().any(decided) { Finding::NotDetected } else { Finding::NotRun }
    }

    /// How many variants of a kind have such a finding.
    fn count(&self, is_safe: bool, wanted: Finding) -> usize {
        let is = |&v: &usize| self.variants[v].is_safe == is_safe && self.finding(v) == wanted;
        (0..self.variants.len()).filter(is).count()
    }

    /// 1 when a safe variant was convicted or a mutant was not; 3 when something was not decided, or not run at all.
    pub(super) fn exit_code(&self) -> u8 {
        let is_wrong = self.count(true, Finding::Detected) + self.count(false, Finding::NotDetected) > 0;
        let is_open = self.count(true, Finding::NotRun) + self.count(false, Finding::NotRun) > 0;
        match (is_wrong, is_open) {
            (true, _) => exit::VIOLATION,
            (false, true) => exit::UNKNOWN,
            (false, false) => exit::VALID,
        }
    }

    pub(super) fn print(&self) {
        println!();
        println!("{:<7} {:<58} {:<9} {:<9} by", "mutant", "what is wrong", "detected", "median");
        for (position, variant) in self.variants.iter().enumerate() {
            let id = variant.mutant.unwrap_or("-");
            println!("{id:<7} {:<58} {}", variant.title, self.row(position));
        }
        let (found, missed) = (self.count(false, Finding::Detected), self.count(false, Finding::NotDetected));
        let open = self.count(false, Finding::NotRun) + self.count(true, Finding::NotRun);
        let wrongly = self.count(true, Finding::Detected);
        println!(
            "{:>12} {found} mutants detected, {missed} not; {wrongly} safe variants convicted; {open} without a decided run; {} runs left out",
            "selftest:",
            self.left_out.iter().sum::<usize>()
        );
    }

    fn row(&self, variant: usize) -> String {
        let trials = &self.trials[variant];
        let detected = trials.iter().filter(|trial| trial.detected_by.is_some()).count();
        let share = format!("{detected} of {}", trials.len());
        let median = self.median(variant).map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let remark = match self.finding(variant) {
            Finding::Detected => self.checks(variant).join(", "),
            Finding::NotDetected => "not detected".to_owned(),
            Finding::NotRun => match trials.last() {
                Some(trial) => format!("not decided: {}", trial.reason),
                None => "not run: the time was over".to_owned(),
            },
        };
        format!("{share:<9} {median:<9} {remark}")
    }

    /// The kinds of anomalies that were found, the most frequent first.
    fn checks(&self, variant: usize) -> Vec<String> {
        let mut counts: Vec<(usize, &str)> = Vec::new();
        for kind in self.trials[variant].iter().filter_map(|trial| trial.detected_by.as_deref()) {
            match counts.iter_mut().find(|(_, known)| *known == kind) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, kind)),
            }
        }
        counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        counts.into_iter().map(|(_, kind)| kind.to_owned()).collect()
    }

    /// The median time until an anomaly had shown, over the runs that have one.
    fn median(&self, variant: usize) -> Option<f64> {
        let mut seconds: Vec<f64> = self.trials[variant].iter().filter_map(|trial| trial.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied()
    }

    pub(super) fn json(&self) -> Value {
        let variants: Vec<Value> =
            (0..self.variants.len()).map(|variant| self.variant_json(variant)).collect();
        json!({ "schema": 1, "variants": variants, "exit_code": self.exit_code() })
    }

    fn variant_json(&self, variant: usize) -> Value {
        let trials: Vec<Value> = self.trials[variant]
            .iter()
            .map(|trial| {
                json!({
                    "seed": trial.seed,
                    "workload": trial.workload,
                    "nemesis": trial.nemesis,
                    "outcome": trial.outcome,
                    "reason": trial.reason,
                    "detected_by": trial.detected_by,
                    "seconds": trial.seconds,
                    "report": trial.report,
                })
            })
            .collect();
        let Variant { mutant, title, is_safe } = self.variants[variant];
        json!({
            "mutant": mutant,
            "title": title,
            "is_safe": is_safe,
            "finding": match self.finding(variant) {
                Finding::Detected => "detected",
                Finding::NotDetected => "not-detected",
                Finding::NotRun => "not-run",
            },
            "checks": self.checks(variant),
            "median_seconds": self.median(variant),
            "runs": trials,
            "runs_left_out": self.left_out[variant],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(mutant: Option<&'static str>, is_safe: bool) -> Variant {
        Variant { mutant, title: "", is_safe }
    }

    fn trial(outcome: RunOutcome, detected: Option<(&str, f64)>) -> Trial {
        Trial {
            seed: 1,
            workload: String::new(),
            nemesis: Vec::new(),
            outcome,
            reason: String::new(),
            detected_by: detected.map(|(kind, _)| kind.to_owned()),
            seconds: detected.map(|(_, seconds)| seconds),
            report: PathBuf::new(),
            interrupted: false,
        }
    }

    fn violation(kind: &str, seconds: f64) -> Trial {
        trial(RunOutcome::Violation, Some((kind, seconds)))
    }

    fn table() -> Table {
        let mut table = Table::new(vec![variant(None, true), variant(Some("C1"), false)]);
        table.add(0, trial(RunOutcome::Valid, None));
        table
    }

    #[test]
    fn mutant_is_detected_by_one_of_its_seeds() {
        let mut table = table();
        table.add(1, trial(RunOutcome::Valid, None));
        assert_eq!(table.exit_code(), exit::VIOLATION);
        table.add(1, violation("stale", 9.0));
        assert_eq!(table.exit_code(), exit::VALID);
    }

    #[test]
    fn conviction_of_a_safe_variant_is_a_failure_whatever_else_is_found() {
        let mut table = table();
        table.add(1, violation("stale", 9.0));
        table.add(0, violation("lost", 3.0));
        assert_eq!(table.exit_code(), exit::VIOLATION);
    }

    #[test]
    fn what_was_not_run_or_not_decided_is_neither_detected_nor_missed() {
        let mut table = table();
        table.leave_out(1);
        assert_eq!(table.exit_code(), exit::UNKNOWN);
        table.add(1, trial(RunOutcome::Infrastructure, None));
        assert_eq!((table.exit_code(), table.finding(1)), (exit::UNKNOWN, Finding::NotRun));
        assert_eq!(table.json()["variants"][1]["runs_left_out"], 1);
    }

    #[test]
    fn median_is_of_the_seeds_that_show_it_and_checks_are_in_the_order_of_their_number() {
        let mut table = table();
        for (kind, seconds) in [("lost", 9.0), ("stale", 2.0), ("stale", 5.0)] {
            table.add(1, violation(kind, seconds));
        }
        table.add(1, trial(RunOutcome::Valid, None));
        assert_eq!((table.median(1), table.checks(1)), (Some(5.0), vec!["stale".into(), "lost".into()]));
    }
}
