//! The scenarios that come with the suite, and how one is found by its name.

use super::script::{Script, ScriptError};

/// A scenario that comes with the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// What it is called: `scenario:NAME`.
    pub name: &'static str,
    text: &'static str,
}

impl Shipped {
    /// What it is about: the first comment of its file.
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().map_or("", |line| line.trim_start_matches(['#', ' ']))
    }
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".scenario")) }),*]
    };
}

/// All of them, in the order in which they are listed.
pub const SHIPPED: &[Shipped] = shipped![
    "raft-figure-8",
    "single-server-bug-2015",
    "minority-long-tail",
    "disruptive-server",
    "asymmetric-partition-2020",
    "asymmetric-partition-2020-chain",
    "stale-leader-read-under-pause",
];

/// Why there is no such scenario.
#[derive(Debug, thiserror::Error)]
pub enum NoScenario {
    /// Neither a name nor a file.
    #[error("scenario {name}: cannot read a file of that name ({error}); shipped are {}", crate::fault::list(SHIPPED.iter().map(|s| s.name)))]
    Unreadable {
        /// What was asked for.
        name: String,
        /// Why it cannot be read.
        error: std::io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] ScriptError),
}

/// The script of that name, or in the file of that name.
pub(crate) fn load(name: &str) -> Result<Script, NoScenario> {
    let shipped = SHIPPED.iter().find(|shipped| shipped.name == name);
    let text = match shipped {
        Some(shipped) => shipped.text.to_owned(),
        None => std::fs::read_to_string(name)
            .map_err(|error| NoScenario::Unreadable { name: name.to_owned(), error })?,
    };
    Ok(Script::parse(name, &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_right_and_says_what_it_is_about() {
        for shipped in SHIPPED {
            let script = load(shipped.name).unwrap();
            assert!(shipped.text.starts_with("# "), "{}", shipped.name);
            assert!(shipped.summary().len() > 20 && shipped.summary().len() < 110, "{}", shipped.summary());
            assert!(script.nodes_needed >= 3, "{}: a scenario is about a majority", shipped.name);
        }
    }

    #[test]
    fn unknown_name_is_told_with_those_that_exist() {
        let error = load("/nowhere/at-all").unwrap_err().to_string();
        assert!(error.contains("/nowhere/at-all") && error.contains("raft-figure-8"), "{error}");
    }
}
