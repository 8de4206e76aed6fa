//! What the user typed after `cargo xtask bench node`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::rounds::Plan;

const USAGE: &str = "usage: cargo xtask bench node [--quick] [--rounds N] [--etcd PATH] [--memory [MINUTES]]
  --quick   one round of short cells: whether it works, in less than a minute; the figures mean little
  --rounds  how often everything is measured, on fresh data each time (3)
  --etcd    the etcd to compare with (/usr/bin/etcd)
  --memory  instead, write to our nodes alone for so many minutes (10), and watch their memory";

const ETCD: &str = "/usr/bin/etcd";
const MEMORY_MINUTES: u64 = 10;

/// A command line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) quick: bool,
    pub(crate) rounds: Option<usize>,
    pub(crate) etcd: PathBuf,
    /// For how long to watch the memory, if that is what is asked for.
    pub(crate) memory: Option<Duration>,
}

impl Arguments {
    /// Understands a command line, or says what is wrong with it.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut arguments = Self { quick: false, rounds: None, etcd: ETCD.into(), memory: None };
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            match word {
                "--quick" => arguments.quick = true,
                "--rounds" => arguments.rounds = Some(number(word, words.next())? as usize),
                "--etcd" => arguments.etcd = words.next().context("--etcd needs a path")?.into(),
                "--memory" => {
                    let minutes = words.next_if(|next| !next.starts_with('-'));
                    let minutes =
                        minutes.map_or(Ok(MEMORY_MINUTES), |minutes| number(word, Some(minutes)))?;
                    arguments.memory = Some(Duration::from_secs(60 * minutes));
                }
                unknown => bail!("unknown option {unknown}\n{USAGE}"),
            }
        }
        Ok(arguments)
    }

    /// What is measured.
    pub(crate) fn plan(&self) -> Plan {
        let plan = if self.quick { Plan::QUICK } else { Plan::FULL };
        Plan { rounds: self.rounds.unwrap_or(plan.rounds), ..plan }
    }

    /// Says what is measured, for the report.
    pub(crate) fn selection(&self) -> String {
        let quick = if self.quick { ", --quick: the figures mean little" } else { "" };
        format!("{} rounds{quick}", self.plan().rounds)
    }
}

fn number(option: &str, word: Option<&str>) -> anyhow::Result<u64> {
    let number = word.and_then(|word| word.parse().ok()).filter(|number| *number > 0);
    number.with_context(|| format!("{option} needs a number\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Arguments> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn options_are_understood_in_any_order() {
        let parsed = parse("--etcd /opt/etcd --quick --rounds 5").unwrap();
        let expected = Arguments { quick: true, rounds: Some(5), etcd: "/opt/etcd".into(), memory: None };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.plan().rounds, 5);
        assert_eq!(parse("").unwrap().plan(), Plan::FULL);
    }

    #[test]
    fn memory_is_watched_for_ten_minutes_unless_told_otherwise() {
        let minutes = |line| parse(line).unwrap().memory.map(|duration| duration.as_secs() / 60);
        assert_eq!(minutes("--memory"), Some(10));
        assert_eq!(minutes("--memory 2"), Some(2));
        assert_eq!(minutes("--memory --quick"), Some(10));
        assert_eq!(minutes(""), None);
    }

    #[test]
    fn wrong_usage_is_refused_with_a_reason() {
        for (line, reason) in [
            ("--fast", "unknown option --fast"),
            ("--rounds", "--rounds needs a number"),
            ("--rounds 0", "--rounds needs a number"),
            ("--memory long", "--memory needs a number"),
            ("--etcd", "--etcd needs a path"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
