//! Did the run exercise anything? A green run of idle clients or of faults without effect means nothing.
//!
//! What is short of its requirement is listed as missing, and makes the outcome `unknown`.

use std::collections::{BTreeMap, BTreeSet};

use history::{FaultPhase, History, Nanos, Operation, Operations, Outcome, RunEvent, RunInfo};

use crate::{Coverage, FaultTally};

/// What a workload must have done to mean anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Functions, each with the number of `ok` completions that a run needs, inside fault windows too.
    pub functions: Vec<(&'static str, u64)>,
    /// The functions that observe.
    pub readers: Vec<&'static str>,
    /// The functions that change the object.
    pub writers: Vec<&'static str>,
    /// Pairs of a read and a write of the same key that overlap inside fault windows.
    pub overlaps: u64,
    /// Whether every node must have answered a final read.
    pub final_reads: bool,
}

/// A time in which a fault stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: Nanos,
    to: Nanos,
    leaves_quorum: bool,
}

/// Measures a run against what its workload requires.
pub fn coverage(info: &RunInfo, history: &History, events: &[RunEvent], required: &Requirements) -> Coverage {
    let windows = windows(&history.operations, events);
    let mut report = Report::default();
    let rows: Vec<Operation> = history.operations.iter().collect();
    let counted: Vec<&Operation> = rows.iter().filter(|o| o.outcome == Outcome::Ok).collect();
    for (function, least) in &required.functions {
        let all = counted.iter().filter(|o| o.f == *function);
        report.at_least(all.count() as u64, *least, &format!("`{function}` operations ended ok"));
    }
    if !info.nemesis.is_empty() {
        report.faults(info, events);
        report.inside_windows(&counted, &windows, required);
        let overlaps = overlapping_pairs(&rows, &windows, required);
        report.at_least(
            overlaps,
            required.overlaps,
            "pairs of a read and a write of one key overlapped inside fault windows",
        );
    }
    if required.final_reads {
        report.final_reads(info, &rows);
    }
    report.coverage
}

/// Counts the faults of each requested kind, in the order of the request.
pub fn tallies(info: &RunInfo, events: &[RunEvent]) -> Vec<FaultTally> {
    info.nemesis
        .iter()
        .map(|kind| {
            let seen = |phase: FaultPhase| -> u64 {
                let faults: BTreeSet<u32> = events
                    .iter()
                    .filter_map(|event| match event {
                        RunEvent::Fault { fault, kind: k, phase: p, .. } if k == kind && *p == phase => {
                            Some(*fault)
                        }
                        _ => None,
                    })
                    .collect();
                faults.len() as u64
            };
            FaultTally {
                kind: kind.clone(),
                planned: info.schedule.iter().filter(|fault| fault.kind == *kind).count() as u64,
                skipped: seen(FaultPhase::Skipped),
                injected: seen(FaultPhase::Injected),
                evidenced: seen(FaultPhase::Evidenced),
                effective: seen(FaultPhase::Effect),
            }
        })
        .collect()
}

#[derive(Default)]
struct Report {
    coverage: Coverage,
}

impl Report {
    fn at_least(&mut self, found: u64, least: u64, what: &str) {
        if found >= least {
            self.coverage.met.push(format!("{found} {what} (at least {least} needed)"));
        } else {
            self.coverage.missing.push(format!("only {found} {what}, at least {least} needed"));
        }
    }

    fn faults(&mut self, info: &RunInfo, events: &[RunEvent]) {
        for tally in tallies(info, events) {
            let kind = &tally.kind;
            self.at_least(tally.evidenced, 1, &format!("`{kind}` faults were proven to be applied"));
            self.at_least(tally.effective, 1, &format!("`{kind}` faults had an effect on the system"));
        }
    }

    fn inside_windows(&mut self, ok: &[&Operation], windows: &[Window], required: &Requirements) {
        let quorate: Vec<Window> = windows.iter().copied().filter(|w| w.leaves_quorum).collect();
        if quorate.is_empty() {
            return;
        }
        for (function, least) in &required.functions {
            let inside = ok.iter().filter(|o| {
                o.f == *function
                    && o.ret.is_some_and(|end| quorate.iter().any(|w| w.from <= end && end <= w.to))
            });
            let what = format!("`{function}` operations ended ok while a fault stood that left a quorum");
            self.at_least(inside.count() as u64, *least, &what);
        }
    }

    fn final_reads(&mut self, info: &RunInfo, rows: &[Operation]) {
        let answered: BTreeSet<_> = rows
            .iter()
            .filter(|o| o.is_final && o.outcome == Outcome::Ok)
            .filter_map(|o| o.node.clone())
            .collect();
        let silent: Vec<String> =
            info.nodes.iter().filter(|n| !answered.contains(n)).map(ToString::to_string).collect();
        if silent.is_empty() {
            self.coverage
                .met
                .push(format!("final reads were answered through all {} nodes", info.nodes.len()));
        } else {
            self.coverage.missing.push(format!("no final read was answered through {}", silent.join(", ")));
        }
    }
}

fn windows(operations: &Operations, events: &[RunEvent]) -> Vec<Window> {
    let ends = (0..operations.len()).map(|at| operations.ret(at).unwrap_or(operations.call(at)));
    let end = ends.max().unwrap_or_default();
    let mut open: BTreeMap<u32, Window> = BTreeMap::new();
    let mut closed = Vec::new();
    for event in events {
        let RunEvent::Fault { time, fault, phase, leaves_quorum, .. } = event else { continue };
        match phase {
            FaultPhase::Injected => {
                let leaves_quorum = leaves_quorum.unwrap_or(false);
                open.insert(*fault, Window { from: *time, to: end.max(*time), leaves_quorum });
            }
            FaultPhase::Healed => {
                if let Some(window) = open.remove(fault) {
                    closed.push(Window { to: *time, ..window });
                }
            }
            _ => {}
        }
    }
    closed.extend(open.into_values());
    closed
}

fn overlapping_pairs(rows: &[Operation], windows: &[Window], required: &Requirements) -> u64 {
    let mut by_key: BTreeMap<Option<&str>, Vec<&Operation>> = BTreeMap::new();
    for operation in rows.iter().filter(|o| o.outcome != Outcome::Fail) {
        by_key.entry(operation.key.as_deref()).or_default().push(operation);
    }
    by_key.into_values().map(|operations| overlaps_of_key(operations, windows, required)).sum()
}

/// Sweeps over the operations of a key in the order of their calls, with those still open beside it.
fn overlaps_of_key(mut operations: Vec<&Operation>, windows: &[Window], required: &Requirements) -> u64 {
    operations.sort_by_key(|o| (o.call, o.index));
    let end = |o: &Operation| o.ret.unwrap_or(o.call);
    let mut open: Vec<&Operation> = Vec::new();
    let mut pairs = 0;
    for operation in operations {
        open.retain(|other| end(other) > operation.call);
        for other in &open {
            let (from, to) = (operation.call, end(operation).min(end(other)));
            let inside = windows.iter().any(|w| w.from <= to && from <= w.to);
            if inside && is_pair(operation, other, required) {
                pairs += 1;
            }
        }
        open.push(operation);
    }
    pairs
}

fn is_pair(a: &Operation, b: &Operation, required: &Requirements) -> bool {
    let reads = |o: &Operation| o.outcome == Outcome::Ok && required.readers.contains(&o.f.as_str());
    let writes = |o: &Operation| required.writers.contains(&o.f.as_str());
    (reads(a) && writes(b)) || (writes(a) && reads(b))
}

#[cfg(test)]
mod tests {
    use history::{NodeId, Process};
    use serde_json::Value;

    use super::*;

    fn operation(index: u64, f: &str, call: u64, ret: u64) -> Operation {
        Operation {
            index,
            process: Process(u32::try_from(index).unwrap()),
            node: Some(NodeId::numbered(1)),
            f: f.into(),
            key: Some("a".into()),
            input: Value::Null,
            output: Value::Null,
            intended: Nanos(call),
            call: Nanos(call),
            ret: Some(Nanos(ret)),
            outcome: Outcome::Ok,
            is_final: false,
            error: None,
        }
    }

    fn required() -> Requirements {
        Requirements {
            functions: vec![("read", 1)],
            readers: vec!["read"],
            writers: vec!["write"],
            overlaps: 1,
            final_reads: false,
        }
    }

    fn window(from: u64, to: u64) -> Window {
        Window { from: Nanos(from), to: Nanos(to), leaves_quorum: true }
    }

    #[test]
    fn overlap_counts_only_inside_a_window_and_only_between_read_and_write() {
        let operations = [
            operation(0, "write", 0, 10),
            operation(1, "read", 5, 15),
            operation(2, "read", 6, 16),
            operation(3, "write", 50, 60),
            operation(4, "read", 55, 65),
        ];
        assert_eq!(overlapping_pairs(&operations, &[window(0, 20)], &required()), 2);
        assert_eq!(overlapping_pairs(&operations, &[window(0, 100)], &required()), 3);
        assert_eq!(overlapping_pairs(&operations, &[], &required()), 0);
    }

    #[test]
    fn operations_that_only_touch_do_not_overlap() {
        let operations = vec![operation(0, "write", 0, 10), operation(1, "read", 10, 20)];
        assert_eq!(overlapping_pairs(&operations, &[window(0, 100)], &required()), 0);
    }

    #[test]
    fn fault_that_was_never_healed_stays_open_to_the_end() {
        let operations = [operation(0, "read", 0, 90)].into_iter().collect();
        let injected = RunEvent::Fault {
            time: Nanos(10),
            fault: 0,
            kind: "pause".into(),
            phase: FaultPhase::Injected,
            nodes: vec![],
            leaves_quorum: Some(true),
            detail: String::new(),
        };
        assert_eq!(windows(&operations, &[injected]), vec![window(10, 90)]);
    }
}
