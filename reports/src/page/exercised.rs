//! What the run exercised: operations, faults, coverage, checks.

use std::collections::BTreeMap;

use crate::load::{Run, rank};
use crate::metrics::contains;
use crate::summary::check_word;
use crate::text::{bytes, clip, count, span};

/// How many functions are shown.
const MAX_FUNCTIONS: usize = 40;

/// Operations of one function by outcome.
pub(super) struct FunctionRow {
    pub(super) function: String,
    /// ok, fail, info, all.
    pub(super) counts: Vec<String>,
    /// The same, of those that began while a fault stood.
    pub(super) inside: Vec<String>,
}

/// Faults of one kind.
pub(super) struct TallyRow {
    pub(super) kind: String,
    /// Planned, skipped, injected, evidenced, effective.
    pub(super) counts: Vec<String>,
    /// Whether something injected was never proven, or nothing had an effect.
    pub(super) remark: &'static str,
}

/// One check.
pub(super) struct CheckRow {
    pub(super) name: String,
    pub(super) outcome: &'static str,
    pub(super) examined: String,
    pub(super) time: String,
    pub(super) memory: String,
    pub(super) note: String,
}

/// Per function, all of them last. The second value is how many functions are left out.
pub(super) fn functions(run: &Run) -> (Vec<FunctionRow>, usize) {
    let windows = run.fault_windows();
    let mut table: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    let mut sum = [0u64; 6];
    for operation in run.history.operations.iter() {
        let row = table.entry(operation.f.clone()).or_default();
        let inside = windows.iter().any(|window| contains(*window, operation.call));
        let column = rank(operation.outcome);
        for cells in [row, &mut sum] {
            cells[column] += 1;
            cells[column + 3] += u64::from(inside);
        }
    }
    let hidden = table.len().saturating_sub(MAX_FUNCTIONS);
    let mut rows: Vec<FunctionRow> =
        table.into_iter().take(MAX_FUNCTIONS).map(|(function, cells)| row(&function, cells)).collect();
    rows.push(row("all", sum));
    (rows, hidden)
}

fn row(function: &str, cells: [u64; 6]) -> FunctionRow {
    let with_sum = |cells: &[u64]| cells.iter().copied().chain([cells.iter().sum()]).map(count).collect();
    FunctionRow { function: clip(function, 60), counts: with_sum(&cells[..3]), inside: with_sum(&cells[3..]) }
}

/// Per kind of fault.
pub(super) fn tallies(run: &Run) -> Vec<TallyRow> {
    let row = |tally: &checker::FaultTally| {
        let cells = [tally.planned, tally.skipped, tally.injected, tally.evidenced, tally.effective];
        TallyRow {
            kind: clip(&tally.kind, 60),
            counts: cells.map(count).to_vec(),
            remark: if tally.evidenced < tally.injected {
                "not all proven"
            } else if tally.injected > 0 && tally.effective == 0 {
                "no effect seen"
            } else if tally.injected == 0 {
                "never applied"
            } else {
                ""
            },
        }
    };
    run.verdict.faults.iter().map(row).collect()
}

/// Per check.
pub(super) fn checks(run: &Run) -> Vec<CheckRow> {
    let row = |check: &checker::CheckResult| CheckRow {
        name: clip(&check.name, 60),
        outcome: check_word(check.outcome),
        examined: count(check.examined),
        time: span(history::Nanos::from_millis(check.duration_ms.min(1 << 40))),
        memory: bytes(check.peak_memory_bytes),
        note: check.note.as_deref().map_or_else(String::new, |note| clip(note, 600)),
    };
    run.verdict.checks.iter().map(row).collect()
}
