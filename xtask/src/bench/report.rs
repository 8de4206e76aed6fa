//! The arithmetic of the benchmark: rows, ratios, goals, and what must not be.
//!
//! A ratio is Porcupine's time over ours, of checking alone, and exists only where both decided a history, and alike.
//! Whatever only one of them decided stands beside the totals, so that a limit never looks like a measurement.

use serde::Serialize;

use super::answer::{Answer, Limits, Verdict};
use super::machine::Machine;

/// What our checker is meant to need at most for a history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Goal {
    /// Of checking, without reading.
    pub(crate) seconds: f64,
    /// Of the whole process.
    pub(crate) bytes: Option<u64>,
}

/// What the ratio of the totals is meant to be at least.
pub(crate) const GOAL_TOTAL_RATIO: f64 = 100.0;

/// What the ratio of every history is meant to be at least: never slower.
pub(crate) const GOAL_MIN_RATIO: f64 = 1.0;

/// The least time that a ratio is taken of, in seconds: the resolution of the clock.
const CLOCK_SECONDS: f64 = 1e-9;

/// One history and what both made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) history: String,
    pub(crate) model: String,
    pub(crate) operations: u64,
    /// The verdict that the generator built in.
    pub(crate) expected: Option<Verdict>,
    pub(crate) goal: Option<Goal>,
    pub(crate) ours: Answer,
    /// `None` when Porcupine was not measured.
    pub(crate) porcupine: Option<Answer>,
    /// Porcupine's time over ours.
    pub(crate) ratio: Option<f64>,
}

/// Where a row stands in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Both decided it.
    Both,
    /// Porcupine did not, whatever ours did.
    PorcupineGaveUp,
    /// Ours did not, but Porcupine did or was not measured.
    OursGaveUp,
    /// Ours decided it, and Porcupine was not measured or has no such model.
    Alone,
}

impl Row {
    /// Puts the answers to a history beside each other.
    pub(crate) fn new(
        history: &str,
        model: &str,
        expected: Option<Verdict>,
        goal: Option<Goal>,
        ours: Answer,
        porcupine: Option<Answer>,
    ) -> Self {
        let operations = ours.operations.max(porcupine.as_ref().map_or(0, |answer| answer.operations));
        let comparable = porcupine
            .as_ref()
            .filter(|answer| answer.verdict.is_definite() && answer.verdict == ours.verdict);
        let ratio = comparable
            .map(|answer| answer.check_seconds.max(CLOCK_SECONDS) / ours.check_seconds.max(CLOCK_SECONDS));
        let (history, model) = (history.to_owned(), model.to_owned());
        Self { history, model, operations, expected, goal, ours, porcupine, ratio }
    }

    /// Where it stands in the report.
    pub(crate) fn group(&self) -> Group {
        let ours = self.ours.verdict.is_definite();
        match self.porcupine.as_ref().map(|answer| answer.verdict) {
            Some(verdict) if verdict.is_definite() && ours => Group::Both,
            Some(Verdict::Unknown | Verdict::OutOfTime | Verdict::OutOfMemory | Verdict::Failed) => {
                Group::PorcupineGaveUp
            }
            _ if ours => Group::Alone,
            _ => Group::OursGaveUp,
        }
    }

    /// What must not be: checkers that contradict each other or the generator, that read different histories, or that
    /// fail.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |what: String| complaints.push(format!("{}: {what}", self.history));
        let sides = [("shakedown", Some(&self.ours)), ("Porcupine", self.porcupine.as_ref())];
        for (name, answer) in sides.into_iter().filter_map(|(name, answer)| Some((name, answer?))) {
            if answer.verdict == Verdict::Failed {
                complain(format!("{name} failed: {}", answer.note));
            }
            let wrong = self.expected.filter(|expected| answer.verdict != *expected);
            if let Some(expected) = wrong.filter(|_| answer.verdict.is_definite()) {
                complain(format!(
                    "{name} says {:?}, but it was generated to be {expected:?}",
                    answer.verdict
                ));
            }
        }
        let Some(porcupine) = &self.porcupine else { return complaints };
        if self.group() == Group::Both && self.ours.verdict != porcupine.verdict {
            complain(format!("shakedown says {:?}, Porcupine {:?}", self.ours.verdict, porcupine.verdict));
        }
        let (ours, theirs) = (self.ours.operations, porcupine.operations);
        if ours != theirs && ours != 0 && theirs != 0 {
            complain(format!("shakedown reads {ours} operations, Porcupine {theirs}"));
        }
        complaints
    }

    /// How the goal was met: the greatest factor of what was needed over what was meant, at most 1 when met. `None`
    /// without a goal; infinite when ours did not decide.
    pub(crate) fn goal_factor(&self) -> Option<f64> {
        let goal = self.goal?;
        if !self.ours.verdict.is_definite() {
            return Some(f64::INFINITY);
        }
        let time = self.ours.check_seconds / goal.seconds;
        let memory = goal.bytes.map_or(0.0, |bytes| self.ours.peak_bytes as f64 / bytes as f64);
        Some(time.max(memory))
    }
}

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Porcupine's time over ours, both summed over the histories that both decided.
    pub(crate) total_ratio: Option<f64>,
    /// The least ratio of a history that both decided.
    pub(crate) min_ratio: Option<f64>,
    pub(crate) selection: String,
    pub(crate) limits: Limits,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Adds up.
    pub(crate) fn new(selection: String, limits: Limits, machine: Machine, rows: Vec<Row>) -> Self {
        let mut report = Self { total_ratio: None, min_ratio: None, selection, limits, machine, rows };
        let (ours, porcupine) = report.total_seconds();
        report.min_ratio = report.slowest().and_then(|row| row.ratio);
        report.total_ratio = report.min_ratio.map(|_| porcupine / ours.max(CLOCK_SECONDS));
        report
    }

    /// The history with the least ratio.
    pub(crate) fn slowest(&self) -> Option<&Row> {
        let rows = self.rows.iter().filter_map(|row| Some((row, row.ratio?)));
        rows.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(row, _)| row)
    }

    /// The seconds that ours and Porcupine checked for, over the histories that have a ratio.
    pub(crate) fn total_seconds(&self) -> (f64, f64) {
        let pairs = self.rows.iter().filter(|row| row.ratio.is_some());
        pairs
            .filter_map(|row| Some((&row.ours, row.porcupine.as_ref()?)))
            .fold((0.0, 0.0), |(ours, porcupine), (one, other)| {
                (ours + one.check_seconds, porcupine + other.check_seconds)
            })
    }

    /// The rows of a group, in the order of measuring.
    pub(crate) fn rows_of(&self, group: Group) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.group() == group).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    pub(crate) const LIMITS: Limits = Limits { seconds: 60, bytes: 8 << 30 };

    pub(crate) fn row(name: &str, ours: Answer, porcupine: Option<Answer>) -> Row {
        Row::new(name, "kv", None, None, ours, porcupine)
    }

    pub(crate) fn report(rows: Vec<Row>) -> Report {
        let machine = Machine {
            processor: "P".into(),
            cores: 2,
            memory: "23.0 GiB".into(),
            kernel: "Linux 6".into(),
            rustc: "rustc 1.95.0".into(),
            go: Some("go version go1.26".into()),
            porcupine: "v1.3.1".into(),
        };
        Report::new("all".into(), LIMITS, machine, rows)
    }

    #[test]
    fn totals_are_over_histories_that_both_decided() {
        let report = report(vec![
            row("a", answer(Verdict::Ok, 0.01), Some(answer(Verdict::Ok, 2.0))),
            row("b", answer(Verdict::Illegal, 0.03), Some(answer(Verdict::Illegal, 0.06))),
            row("c", answer(Verdict::Ok, 5.0), Some(answer(Verdict::Unknown, 60.0))),
            row("d", answer(Verdict::Unknown, 60.0), Some(answer(Verdict::Ok, 7.0))),
        ]);
        assert!((report.total_ratio.unwrap() - 2.06 / 0.04).abs() < 1e-9);
        assert!((report.min_ratio.unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(report.slowest().unwrap().history, "b");
    }

    #[test]
    fn without_porcupine_there_is_no_ratio() {
        let report = report(vec![row("a", answer(Verdict::Ok, 0.01), None)]);
        assert_eq!((report.total_ratio, report.min_ratio), (None, None));
        assert_eq!(report.rows[0].group(), Group::Alone);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["total_ratio"].is_null() && json["min_ratio"].is_null());
        assert!(json["rows"][0]["porcupine"].is_null());
    }

    #[test]
    fn rows_are_grouped_by_who_decided() {
        let group = |ours, porcupine| row("x", answer(ours, 1.0), Some(answer(porcupine, 1.0))).group();
        assert_eq!(group(Verdict::Ok, Verdict::Ok), Group::Both);
        assert_eq!(group(Verdict::Ok, Verdict::OutOfMemory), Group::PorcupineGaveUp);
        assert_eq!(group(Verdict::Unknown, Verdict::Unknown), Group::PorcupineGaveUp);
        assert_eq!(group(Verdict::Unsupported, Verdict::Ok), Group::OursGaveUp);
        assert_eq!(group(Verdict::Unsupported, Verdict::Unsupported), Group::OursGaveUp);
        assert_eq!(group(Verdict::Illegal, Verdict::Unsupported), Group::Alone);
    }

    #[test]
    fn contradiction_between_checkers_is_a_complaint_and_has_no_ratio() {
        let row = row("x", answer(Verdict::Ok, 1.0), Some(answer(Verdict::Illegal, 1.0)));
        assert_eq!(row.complaints(), ["x: shakedown says Ok, Porcupine Illegal"]);
        assert_eq!(row.ratio, None);
    }

    #[test]
    fn contradiction_with_the_generator_is_a_complaint() {
        let mut row = row("x", answer(Verdict::Ok, 1.0), Some(answer(Verdict::Unknown, 60.0)));
        assert!(row.complaints().is_empty());
        row.expected = Some(Verdict::Illegal);
        assert_eq!(row.complaints(), ["x: shakedown says Ok, but it was generated to be Illegal"]);
    }

    #[test]
    fn failures_and_different_lengths_are_complaints() {
        let failed = Answer::without_times(Verdict::Failed, 0, "exit status: 2".into());
        let complaints = row("x", answer(Verdict::Ok, 1.0), Some(failed)).complaints();
        assert_eq!(complaints, ["x: Porcupine failed: exit status: 2"]);
        let shorter = Answer { operations: 999, ..answer(Verdict::Ok, 1.0) };
        let complaints = row("x", answer(Verdict::Ok, 1.0), Some(shorter)).complaints();
        assert_eq!(complaints, ["x: shakedown reads 1000 operations, Porcupine 999"]);
    }

    #[test]
    fn goal_is_missed_by_the_greater_factor_of_time_and_memory() {
        let mut row = row("x", answer(Verdict::Ok, 0.5), None);
        assert_eq!(row.goal_factor(), None);
        row.goal = Some(Goal { seconds: 1.0, bytes: Some(1 << 20) });
        assert_eq!(row.goal_factor(), Some(2.0));
        row.goal = Some(Goal { seconds: 0.125, bytes: None });
        assert_eq!(row.goal_factor(), Some(4.0));
        row.ours.verdict = Verdict::Unknown;
        assert_eq!(row.goal_factor(), Some(f64::INFINITY));
    }

    #[test]
    fn time_below_the_clock_gives_no_infinite_ratio() {
        let row = row("x", answer(Verdict::Ok, 0.0), Some(answer(Verdict::Ok, 0.001)));
        assert!(row.ratio.unwrap().is_finite());
    }
}
