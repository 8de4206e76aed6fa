//! Faults as the report sees them: the lines of `nemesis.jsonl` about one fault, put together.

use std::collections::BTreeMap;

use history::{FaultPhase, Nanos, NodeId, RunEvent};

/// One fault of the schedule, with everything that was recorded about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// The position in the schedule.
    pub(crate) id: u32,
    /// The kind, as named on the command line.
    pub(crate) kind: String,
    /// The nodes it is about, in the order of their first mention.
    pub(crate) nodes: Vec<NodeId>,
    /// Whether a majority was left whole and connected.
    pub(crate) leaves_quorum: Option<bool>,
    /// What happened, in the order of the file.
    pub(crate) steps: Vec<Step>,
}

/// One line about a fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// When.
    pub(crate) time: Nanos,
    /// Where the fault stood.
    pub(crate) phase: FaultPhase,
    /// In words.
    pub(crate) detail: String,
}

impl Fault {
    /// When the window opened.
    pub(crate) fn injected(&self) -> Option<Nanos> {
        self.steps.iter().find(|step| step.phase == FaultPhase::Injected).map(|step| step.time)
    }

    /// When the window closed.
    pub(crate) fn healed(&self) -> Option<Nanos> {
        self.steps.iter().rev().find(|step| step.phase == FaultPhase::Healed).map(|step| step.time)
    }

    /// The window, open to the end of the axis when the fault was never healed.
    pub(crate) fn window(&self, axis_end: Nanos) -> Option<(Nanos, Nanos)> {
        let from = self.injected()?;
        Some((from, self.healed().unwrap_or(axis_end).max(from)))
    }

    /// The words recorded with a phase, each once.
    pub(crate) fn words(&self, phase: FaultPhase) -> String {
        let mut seen: Vec<&str> = Vec::new();
        for step in self.steps.iter().filter(|step| step.phase == phase && !step.detail.is_empty()) {
            if !seen.contains(&step.detail.as_str()) {
                seen.push(&step.detail);
            }
        }
        seen.join("; ")
    }

    /// Whether a phase was reached.
    pub(crate) fn reached(&self, phase: FaultPhase) -> bool {
        self.steps.iter().any(|step| step.phase == phase)
    }

    /// The nodes in words: `n1, n3`.
    pub(crate) fn node_list(&self) -> String {
        self.nodes.iter().map(|node| node.0.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Kind and nodes: `kill n2`.
    pub(crate) fn label(&self) -> String {
        if self.nodes.is_empty() { self.kind.clone() } else { format!("{} {}", self.kind, self.node_list()) }
    }
}

/// Puts the lines about each fault together, by ascending position in the schedule.
pub(crate) fn collect(events: &[RunEvent]) -> Vec<Fault> {
    let mut faults: BTreeMap<u32, Fault> = BTreeMap::new();
    for event in events {
        let RunEvent::Fault { time, fault, kind, phase, nodes, leaves_quorum, detail } = event else {
            continue;
        };
        let entry = faults.entry(*fault).or_insert_with(|| Fault {
            id: *fault,
            kind: kind.clone(),
            nodes: Vec::new(),
            leaves_quorum: None,
            steps: Vec::new(),
        });
        for node in nodes {
            if !entry.nodes.contains(node) {
                entry.nodes.push(node.clone());
            }
        }
        entry.leaves_quorum = entry.leaves_quorum.or(*leaves_quorum);
        entry.steps.push(Step { time: *time, phase: *phase, detail: detail.clone() });
    }
    faults.into_values().collect()
}

/// The kinds in alphabetical order. The position of a kind decides its colour and pattern everywhere in a report.
pub(crate) fn kinds(faults: &[Fault]) -> Vec<String> {
    let mut kinds: Vec<String> = faults.iter().map(|fault| fault.kind.clone()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(fault: u32, time: u64, phase: FaultPhase) -> RunEvent {
        RunEvent::Fault {
            time: Nanos(time),
            fault,
            kind: "kill".into(),
            phase,
            nodes: vec![NodeId::numbered(2)],
            leaves_quorum: Some(true),
            detail: "pid 7".into(),
        }
    }

    #[test]
    fn fault_that_was_never_healed_stands_to_the_end() {
        let faults = collect(&[step(0, 5, FaultPhase::Injected), step(0, 6, FaultPhase::Evidenced)]);
        assert_eq!(faults[0].window(Nanos(9)), Some((Nanos(5), Nanos(9))));
        assert_eq!(faults[0].label(), "kill n2");
    }

    #[test]
    fn skipped_fault_has_no_window() {
        let faults = collect(&[step(3, 5, FaultPhase::Skipped)]);
        assert_eq!(faults[0].window(Nanos(9)), None);
        assert_eq!(faults[0].words(FaultPhase::Skipped), "pid 7");
    }
}
