//! A small process with the clocks of a node, which tells what they show.
//!
//! It is the guardian's own executable, started by the guardian in the same way as the node, so what it reads is what a process
//! of the node would read. It asks the kernel for the true time before and after each reading, so that the reading is foretold
//! to the length of a system call, however long the machine lets the canary wait.

use std::time::Duration;

use history::NodeId;

use super::ClockFile;
use super::page::{Area, NodeClock, Reader};
use super::skew::{Movement, Skew, Span};
use super::time::{shown_ns, true_ns};
use crate::Processes;
use crate::fault::{FaultError, list};
use crate::guardian::{ExitStatus, NodeCommand};

/// Makes the guardian's executable a canary: the clock, and the pause between two readings in nanoseconds.
const VARIABLE: &str = "SHAKEDOWN_CLOCK_CANARY";
/// Begins a line of its output.
const MARK: &str = "clock reading:";
/// How often a canary reads the clock. Of two readings a period apart, a strobe shows in one.
const READINGS: usize = 2;
/// The pause between two readings of a clock that does not strobe.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a canary may take.
const LIMIT: Duration = Duration::from_secs(10);

/// If this process was started as a canary, tells the time and ends.
pub(crate) fn sing_if_asked() {
    let Ok(asked) = std::env::var(VARIABLE) else { return };
    let Some((area, pause)) = parse(&asked) else { std::process::exit(2) };
    for _ in 0..READINGS {
        let (before, shown, after) = (true_ns(area), shown_ns(area), true_ns(area));
        println!("\n{MARK} {before} {shown} {after}");
        std::thread::sleep(pause);
    }
    std::process::exit(0)
}

fn parse(asked: &str) -> Option<(Area, Duration)> {
    let (name, pause) = asked.split_once(' ')?;
    let area = Area::ALL.into_iter().find(|area| area.name() == name)?;
    Some((area, Duration::from_nanos(pause.parse().ok()?)))
}

/// What a canary saw, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// The true time before.
    before: i64,
    shown: i64,
    /// The true time after.
    after: i64,
}

impl Reading {
    fn parse(line: &str) -> Option<Self> {
        let mut times = line.strip_prefix(MARK)?.split_ascii_whitespace().map(str::parse);
        let mut next = || times.next()?.ok();
        Some(Self { before: next()?, shown: next()?, after: next()? })
    }

    /// Whether a clock with this skew shows such a time. A strobe may change sides between the two true times.
    fn fits(&self, skew: &Skew) -> bool {
        let ends = [skew.apply(self.before), skew.apply(self.after)];
        let side = if skew.period_ns == 0 { 0 } else { self.after - self.before };
        (ends[0].min(ends[1]) - side..=ends[0].max(ends[1]) + side).contains(&self.shown)
    }

    /// How far it is from every true time that it could be.
    fn off(&self) -> Span {
        Span(self.shown - self.shown.clamp(self.before, self.after))
    }
}

/// Sends a canary with a clock of a node that was told `skew`, and says how wrong that clock is.
///
/// # Errors
/// When the canary cannot be started, or sees another time than the node was told.
pub(crate) async fn send(
    processes: &Processes,
    name: &NodeId,
    clock: &NodeClock,
    area: Area,
    skew: &Skew,
) -> Result<String, FaultError> {
    let output = clock.path().with_file_name(format!("{name}.log"));
    let pause = if skew.period_ns == 0 { PAUSE.as_nanos() } else { skew.period_ns.unsigned_abs().into() };
    let again = processes.guardian_again().await?;
    let command = NodeCommand {
        environment: again
            .environment
            .into_iter()
            .chain([(VARIABLE.to_owned(), format!("{} {pause}", area.name()))])
            .collect(),
        stdout: output.clone(),
        stderr: output.clone(),
        clock: Some(ClockFile { path: clock.path().to_owned(), reader: Reader::Canary }),
        ..again
    };
    let status = processes.execute(name, command, LIMIT).await?;
    let printed = std::fs::read_to_string(&output).unwrap_or_default();
    // What it says is in the record, or in the error.
    let _ = std::fs::remove_file(&output);
    judge(&printed, status, area, skew).map_err(FaultError::NotProven)
}

/// Sets the time of day back by a day, and sends a canary.
///
/// # Errors
/// As for [`send`].
pub(crate) async fn send_a_day_back(
    processes: &Processes,
    name: &NodeId,
    clock: &NodeClock,
) -> Result<String, FaultError> {
    const DAY_NS: i64 = 86_400_000_000_000;
    let skew = clock.change(Area::Wall, Movement::Jump { by_ns: -DAY_NS });
    send(processes, name, clock, Area::Wall, &skew).await
}

fn judge(printed: &str, status: Option<ExitStatus>, area: Area, skew: &Skew) -> Result<String, String> {
    let readings: Vec<Reading> = printed.lines().filter_map(Reading::parse).collect();
    if status != Some(ExitStatus::Code(0)) || readings.len() != READINGS {
        return Err(format!(
            "a canary that shall read the {area} ended with {status:?} and said {printed:?}"
        ));
    }
    match readings.iter().find(|reading| !reading.fits(skew)) {
        None => {
            let mut off: Vec<String> = readings.iter().map(|reading| reading.off().to_string()).collect();
            off.dedup();
            Ok(list(off))
        }
        Some(wrong) => {
            Err(format!("a canary reads a {area} that is off by {}, which {skew:?} is not", wrong.off()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD: Skew = Skew { base_ns: 0, rate: 0, offset_ns: 500, period_ns: 0, delta_ns: 0 };

    fn say(lines: &str) -> Result<String, String> {
        judge(lines, Some(ExitStatus::Code(0)), Area::Wall, &AHEAD)
    }

    #[test]
    fn reading_between_two_foretold_ones_is_right() {
        assert!(say("clock reading: 100 600 101\nnoise\nclock reading: 200 701 201").is_ok());
    }

    #[test]
    fn reading_outside_silence_and_failure_are_wrong() {
        let wrong = say("clock reading: 100 600 101\nclock reading: 200 702 201").unwrap_err();
        assert!(wrong.starts_with("a canary reads a wall clock"), "{wrong}");
        assert!(say("clock reading: 100 600 101").is_err());
        let failed = "clock reading: 100 600 101\nclock reading: 200 701 201";
        assert!(judge(failed, Some(ExitStatus::KILLED), Area::Wall, &AHEAD).is_err());
    }

    #[test]
    fn strobe_is_on_one_side_or_the_other() {
        let strobe = Skew { offset_ns: 0, period_ns: 100, delta_ns: 5000, ..AHEAD };
        let reading = |before, shown, after| Reading { before, shown, after };
        assert!(reading(10, 11, 12).fits(&strobe) && reading(110, 5111, 112).fits(&strobe));
        assert!(reading(98, 5101, 102).fits(&strobe) && reading(98, 99, 102).fits(&strobe));
        assert!(!reading(10, 5011, 12).fits(&strobe) && !reading(110, 111, 112).fits(&strobe));
    }
}
