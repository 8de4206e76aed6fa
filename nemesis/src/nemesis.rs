//! What is asked for on the command line: a kind of fault, and for some kinds what it is about.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;

use crate::Kind;
use crate::fault::list;

/// A kind of fault with its argument: `kill`, `command:./drain.sh`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nemesis {
    kind: Kind,
    argument: Option<String>,
}

impl Nemesis {
    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is about, for kinds that need to be told.
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }
}

/// A kind that is about nothing in particular.
impl From<Kind> for Nemesis {
    fn from(kind: Kind) -> Self {
        Self { kind, argument: None }
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.argument {
            Some(argument) => write!(f, "{}:{argument}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

/// A name that means no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownNemesis {
    /// There is no such kind.
    #[error("{0:?} is no nemesis; there are {names}", names = list(Kind::ALL.map(Kind::usage)))]
    Kind(String),
    /// The kind must be told what it is about.
    #[error("`{0}` does not say what it is about; write {usage}", usage = .0.usage())]
    NoArgument(Kind),
    /// The kind is about nothing in particular.
    #[error("`{0}` takes nothing after its name, not {1:?}")]
    Argument(Kind, String),
    /// No regular expression.
    #[error(
        "{0}:{1}: what comes after the colon must be a regular expression, in which `.` stands for a comma"
    )]
    Pattern(Kind, String),
}

impl FromStr for Nemesis {
    type Err = UnknownNemesis;

    fn from_str(text: &str) -> Result<Self, UnknownNemesis> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| UnknownNemesis::Kind(text.to_owned()))?;
        match argument.filter(|argument| !argument.is_empty()) {
            None if kind.takes_argument() => Err(UnknownNemesis::NoArgument(kind)),
            Some(argument) if !kind.may_take_argument() => {
                Err(UnknownNemesis::Argument(kind, argument.to_owned()))
            }
            Some(pattern) if kind.takes_pattern() && Regex::new(pattern).is_err() => {
                Err(UnknownNemesis::Pattern(kind, pattern.to_owned()))
            }
            argument => Ok(Self { kind, argument: argument.map(str::to_owned) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            let text = if kind.may_take_argument() { format!("{kind}:./a:b.sh") } else { kind.to_string() };
            let nemesis: Nemesis = text.parse().unwrap();
            assert_eq!((nemesis.kind(), nemesis.to_string()), (kind, text));
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        let message = |text: &str| text.parse::<Nemesis>().unwrap_err().to_string();
        assert!(message("flood").starts_with("\"flood\" is no nemesis; there are kill[:REGEX], "));
        assert_eq!(message("command"), "`command` does not say what it is about; write command:FILE");
        assert_eq!(message("command:"), message("command"));
        assert_eq!(message("pause:n1"), "`pause` takes nothing after its name, not \"n1\"");
        assert!(message("kill:a(b").contains("must be a regular expression"));
    }
}
