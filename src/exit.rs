//! Exit codes, chosen in one place.

use checker::RunOutcome;

/// The history satisfies the claim, and the run meant something; or the expected violation was found.
pub(crate) const VALID: u8 = 0;
/// A violation; or an expected one that did not appear.
pub(crate) const VIOLATION: u8 = 1;
/// Wrong usage or unreadable input (clap uses the same code).
pub(crate) const USAGE: u8 = 2;
/// A checker hit its budget, or coverage was too thin.
pub(crate) const UNKNOWN: u8 = 3;
/// Nothing was selected.
pub(crate) const NOTHING_SELECTED: u8 = 4;
/// The harness could not do its work.
pub(crate) const INFRASTRUCTURE: u8 = 5;
/// Interrupted twice.
pub(crate) const INTERRUPTED: u8 = 130;

/// For `--help` and the README.
pub(crate) const HELP: &str = "\
Exit codes:
  0  valid (or the expected violation was found)
  1  violation (or the expected one was not found)
  2  wrong usage or unreadable input
  3  unknown: a checker ran out of its budget, or the run exercised too little
  4  nothing was selected
  5  infrastructure: a node did not start, a fault could not be applied or healed
130  interrupted twice";

/// The code of an outcome when nothing in particular is expected.
pub(crate) fn of(outcome: RunOutcome) -> u8 {
    match outcome {
        RunOutcome::Valid => VALID,
        RunOutcome::Violation => VIOLATION,
        RunOutcome::Unknown => UNKNOWN,
        RunOutcome::Infrastructure => INFRASTRUCTURE,
    }
}
