//! What the user typed after `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

/// How the command is used.
pub(crate) const USAGE: &str =
    "usage: cargo xtask bench checker [--quick] [--only SUBSTRING] [--generator COMMAND]
                                  [--model MODEL] [FILE…]
  --quick      only the dozen small histories that are done in two minutes
  --only       only the generated histories whose name contains SUBSTRING (files are always measured)
  --generator  the command that writes a history, instead of `shakedown generate` of this checkout
  --model      what the files are histories of, where they do not say";

/// A command line, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    pub(crate) generator: Option<Vec<String>>,
    pub(crate) model: Option<String>,
    pub(crate) files: Vec<PathBuf>,
}

impl Arguments {
    /// Understands a command line, or says what is wrong with it.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut words = words.iter();
        ensure!(words.next().map(String::as_str) == Some("checker"), "{USAGE}");
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().cloned().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--quick" => arguments.quick = true,
                "--only" => arguments.only = Some(value()?),
                "--model" => arguments.model = Some(value()?),
                "--generator" => {
                    let command: Vec<String> = value()?.split_whitespace().map(str::to_owned).collect();
                    ensure!(!command.is_empty(), "--generator needs a command\n{USAGE}");
                    arguments.generator = Some(command);
                }
                unknown if unknown.starts_with('-') => bail!("unknown option {unknown}\n{USAGE}"),
                file => arguments.files.push(file.into()),
            }
        }
        Ok(arguments)
    }

    /// Whether a generated history is asked for.
    pub(crate) fn selects(&self, name: &str, quick: bool) -> bool {
        (quick || !self.quick) && self.only.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }

    /// Says what is measured, for the report.
    pub(crate) fn selection(&self) -> String {
        let mut parts = Vec::new();
        if self.quick {
            parts.push("--quick".to_owned());
        }
        if let Some(only) = &self.only {
            parts.push(format!("--only {only}"));
        }
        if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Arguments> {
        let words: Vec<String> = line.split('|').map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn options_and_files_are_understood_in_any_order() {
        let parsed =
            parse("checker|a.jsonl|--only|kv|--quick|--model|queue|b.gz|--generator|x generate").unwrap();
        let expected = Arguments {
            quick: true,
            only: Some("kv".into()),
            generator: Some(vec!["x".into(), "generate".into()]),
            model: Some("queue".into()),
            files: vec!["a.jsonl".into(), "b.gz".into()],
        };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.selection(), "--quick --only kv");
        assert_eq!(parse("checker").unwrap().selection(), "all");
    }

    #[test]
    fn wrong_usage_is_refused_with_a_reason() {
        for (line, reason) in [
            ("", "usage"),
            ("network", "usage"),
            ("checker|--only", "--only needs a value"),
            ("checker|--fast", "unknown option --fast"),
            ("checker|--generator| ", "--generator needs a command"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn quick_and_only_both_have_to_match() {
        let both = parse("checker|--quick|--only|kv").unwrap();
        assert!(both.selects("kv-c5", true));
        assert!(!both.selects("kv-c5", false) && !both.selects("set-c5", true));
        assert!(parse("checker").unwrap().selects("set-c5", false));
    }
}
