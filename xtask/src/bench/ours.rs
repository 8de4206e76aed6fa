//! Our checker on one history, in a process of its own, so that time and peak memory are those of that history.
//!
//! [`decide`] is the only place of the benchmark that knows how our checker is called.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use checker::{Budget, CheckError, CheckOutcome, Finding};
use history::{History, read_history};

use super::answer::{Answer, Limits, Verdict};
use super::child;

/// How long a check that ends sooner is repeated.
const REPEAT_UNTIL: Duration = Duration::from_millis(50);

/// Calls our checker; `None` when it has no such model.
fn decide(history: &History, model: &str, budget: &Budget) -> Option<Result<Finding, CheckError>> {
    Some(checker::linearizable(model.parse().ok()?, history, budget))
}

/// Reads a history and judges it, repeatedly when that is fast; the least time counts.
pub(crate) fn check(path: &Path, model: &str, limits: Limits) -> anyhow::Result<Answer> {
    let start = Instant::now();
    let (history, _torn) = read_history(path)?;
    let parse_seconds = start.elapsed().as_secs_f64();
    let budget =
        Budget { time: Duration::from_secs(limits.seconds), memory_bytes: limits.bytes, ..Budget::default() };
    let mut answer = Answer::without_times(Verdict::Unsupported, 0, String::new());
    answer.operations = history.operations.len() as u64;
    answer.parse_seconds = parse_seconds;
    answer.check_seconds = f64::INFINITY;
    let mut spent = Duration::ZERO;
    while answer.repetitions == 0 || spent < REPEAT_UNTIL {
        let start = Instant::now();
        let Some(finding) = decide(&history, model, &budget) else {
            return Ok(Answer { check_seconds: 0.0, note: format!("no model {model}"), ..answer });
        };
        let took = start.elapsed();
        spent += took;
        answer.repetitions += 1;
        answer.check_seconds = answer.check_seconds.min(took.as_secs_f64());
        if answer.repetitions == 1 {
            let finding = finding.with_context(|| path.display().to_string())?;
            answer.verdict = verdict(finding.result.outcome);
            answer.note = finding.result.note.unwrap_or_default();
            answer.peak_bytes = child::peak_bytes("self")?;
        }
    }
    Ok(answer)
}

fn verdict(outcome: CheckOutcome) -> Verdict {
    match outcome {
        CheckOutcome::Valid => Verdict::Ok,
        CheckOutcome::Violation => Verdict::Illegal,
        CheckOutcome::Unknown => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(model: &str, observed: u32) -> Answer {
        let text = format!(
            r#"{{"index":0,"time":10,"type":"invoke","process":1,"f":"write","value":5}}
{{"index":1,"time":20,"type":"ok","process":1,"f":"write"}}
{{"index":2,"time":30,"type":"invoke","process":2,"f":"read"}}
{{"index":3,"time":40,"type":"ok","process":2,"f":"read","value":{observed}}}
"#
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        check(file.path(), model, Limits { seconds: 10, bytes: 1 << 30 }).unwrap()
    }

    #[test]
    fn history_is_judged_and_measured() {
        let valid = judge("register", 5);
        assert_eq!((valid.verdict, valid.operations), (Verdict::Ok, 2));
        assert!(valid.repetitions >= 2 && valid.check_seconds.is_finite() && valid.peak_bytes > 0);
        assert_eq!(judge("register", 6).verdict, Verdict::Illegal);
    }

    #[test]
    fn model_that_does_not_exist_is_unsupported() {
        let answer = judge("abacus", 5);
        assert_eq!((answer.verdict, answer.check_seconds), (Verdict::Unsupported, 0.0));
        assert_eq!(answer.note, "no model abacus");
    }
}
