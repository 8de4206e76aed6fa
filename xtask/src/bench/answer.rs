//! What one checker makes of one history: the line that a child prints, and what several rounds of it come to.

use serde::{Deserialize, Serialize};

/// What a checker may spend on one history. The same for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Limits {
    /// Wall-clock time of checking, without reading.
    pub(crate) seconds: u64,
    /// Resident memory of the process.
    pub(crate) bytes: u64,
}

/// How a checker answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The history is linearizable.
    Ok,
    /// It is not.
    Illegal,
    /// The checker gave up, for the reason in the note.
    Unknown,
    /// The checker has no model for it.
    Unsupported,
    /// Its process was stopped because of the time limit.
    OutOfTime,
    /// Its process was stopped because of the memory limit.
    OutOfMemory,
    /// Its process failed, as the note says.
    Failed,
}

impl Verdict {
    /// Whether it says something of the history.
    pub(crate) fn is_definite(self) -> bool {
        matches!(self, Self::Ok | Self::Illegal)
    }
}

/// The answer of one checker, with what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    /// The operations of the file, also those that need no checking; 0 when the checker did not say.
    pub(crate) operations: u64,
    pub(crate) parse_seconds: f64,
    pub(crate) check_seconds: f64,
    /// How often the check was repeated to find its least time.
    pub(crate) repetitions: u32,
    /// The peak of resident memory, reading included.
    pub(crate) peak_bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Answer {
    /// An answer that nobody measured the time of.
    pub(crate) fn without_times(verdict: Verdict, peak_bytes: u64, note: String) -> Self {
        Self {
            verdict,
            operations: 0,
            parse_seconds: 0.0,
            check_seconds: 0.0,
            repetitions: 0,
            peak_bytes,
            note,
        }
    }

    /// One answer from two rounds of one checker: the least of every cost, and the more definite verdict. A failure in
    /// either round stays one.
    pub(crate) fn merge(self, other: Self) -> Self {
        if self.verdict != other.verdict {
            return self.merge_different(other);
        }
        Self {
            verdict: self.verdict,
            operations: self.operations.max(other.operations),
            parse_seconds: self.parse_seconds.min(other.parse_seconds),
            check_seconds: self.check_seconds.min(other.check_seconds),
            repetitions: self.repetitions + other.repetitions,
            peak_bytes: self.peak_bytes.min(other.peak_bytes),
            note: self.note,
        }
    }

    fn merge_different(self, other: Self) -> Self {
        if other.verdict == Verdict::Failed {
            return other;
        }
        match (self.verdict.is_definite(), other.verdict.is_definite()) {
            (true, true) => {
                let note =
                    format!("answered {:?} in one round and {:?} in another", self.verdict, other.verdict);
                Self { verdict: Verdict::Failed, note, ..self }
            }
            (false, true) if self.verdict != Verdict::Failed => other,
            _ => self,
        }
    }

    /// The verdict for people.
    pub(crate) fn said(&self, limits: Limits) -> String {
        match self.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Illegal => "illegal".to_owned(),
            Verdict::Unknown if self.note.is_empty() => format!("no answer in {} s", limits.seconds),
            Verdict::Unknown => format!("unknown: {}", self.note),
            Verdict::Unsupported => "unsupported".to_owned(),
            Verdict::OutOfTime => format!("no answer in {} s", limits.seconds),
            Verdict::OutOfMemory => format!("more than {} GiB", limits.bytes >> 30),
            Verdict::Failed => format!("failed: {}", self.note),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer of a checker that took so long.
    pub(crate) fn answer(verdict: Verdict, check_seconds: f64) -> Answer {
        Answer {
            verdict,
            operations: 1000,
            parse_seconds: 0.5,
            check_seconds,
            repetitions: 1,
            peak_bytes: 2 << 20,
            note: String::new(),
        }
    }

    #[test]
    fn line_of_the_go_program_is_understood() {
        let line = r#"{"verdict":"illegal","operations":2,"parse_seconds":0.25,"check_seconds":1e-05,
            "repetitions":7,"peak_bytes":4096}"#;
        let found: Answer = serde_json::from_str(line).unwrap();
        assert_eq!(found.verdict, Verdict::Illegal);
        assert_eq!((found.operations, found.repetitions, found.peak_bytes), (2, 7, 4096));
        assert_eq!((found.parse_seconds, found.check_seconds), (0.25, 1e-5));
        assert!(found.note.is_empty());
        let unsupported = line.replace("illegal", "unsupported");
        assert_eq!(serde_json::from_str::<Answer>(&unsupported).unwrap().verdict, Verdict::Unsupported);
    }

    #[test]
    fn rounds_come_to_the_least_of_every_cost() {
        let slow = Answer { peak_bytes: 1 << 20, parse_seconds: 0.7, ..answer(Verdict::Ok, 3.0) };
        let merged = slow.merge(answer(Verdict::Ok, 2.0));
        assert_eq!((merged.check_seconds, merged.parse_seconds, merged.peak_bytes), (2.0, 0.5, 1 << 20));
        assert_eq!(merged.repetitions, 2);
    }

    #[test]
    fn definite_round_wins_over_one_that_gave_up() {
        let gave_up = answer(Verdict::Unknown, 60.0);
        let found = answer(Verdict::Illegal, 2.0);
        assert_eq!(gave_up.clone().merge(found.clone()), found);
        assert_eq!(found.clone().merge(gave_up), found);
    }

    #[test]
    fn rounds_that_contradict_each_other_are_a_failure() {
        let merged = answer(Verdict::Ok, 1.0).merge(answer(Verdict::Illegal, 1.0));
        assert_eq!(merged.verdict, Verdict::Failed);
        assert!(merged.note.contains("Ok") && merged.note.contains("Illegal"));
    }

    #[test]
    fn failure_of_one_round_is_not_hidden_by_another() {
        let failed = Answer::without_times(Verdict::Failed, 0, "exit status: 2".into());
        assert_eq!(answer(Verdict::Ok, 1.0).merge(failed.clone()), failed);
        assert_eq!(failed.clone().merge(answer(Verdict::Ok, 1.0)), failed);
    }

    #[test]
    fn exhausted_limits_are_said_with_their_size() {
        let limits = Limits { seconds: 60, bytes: 8 << 30 };
        let said = |verdict| answer(verdict, 60.0).said(limits);
        assert_eq!(said(Verdict::Unknown), "no answer in 60 s");
        assert_eq!(said(Verdict::OutOfTime), "no answer in 60 s");
        assert_eq!(said(Verdict::OutOfMemory), "more than 8 GiB");
    }
}
