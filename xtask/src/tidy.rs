//! House rules that a compiler does not check: layers, module documentation, long files, unfinished marks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Files longer than this state the reason in their module documentation ("Long because …").
const LONG_FILE_LINES: usize = 600;

/// Which crates of the workspace a crate may depend on. The arrows of ARCHITECTURE.md.
const LAYERS: [(&str, &[&str]); 8] = [
    ("history", &[]),
    ("checker", &["history"]),
    ("workloads", &["history", "checker"]),
    ("targets", &["history", "checker", "workloads"]),
    ("nemesis", &["history"]),
    ("reports", &["history", "checker"]),
    ("node", &[]),
    ("xtask", &["history", "checker", "workloads"]),
];

/// Crates that may not know a runtime or a network.
const PURE: [(&str, &[&str]); 3] = [
    ("history", &["tokio", "reqwest", "rand"]),
    ("checker", &["tokio", "reqwest"]),
    ("reports", &["tokio", "reqwest"]),
];

/// Checks every rule and lists everything that breaks one.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    for (name, allowed) in LAYERS {
        complaints.extend(layer(root, name, allowed)?);
    }
    let mut files = Vec::new();
    for name in LAYERS.iter().map(|(name, _)| *name).chain(["src", "tests", "bench"]) {
        collect(&root.join(name), &mut files)?;
    }
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let shown = file.strip_prefix(root).unwrap_or(file);
        complaints.extend(source(shown, &text));
    }
    for complaint in &complaints {
        println!("tidy: {complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} house rules are broken", complaints.len());
    }
    println!("tidy: {} files are in order", files.len());
    Ok(())
}

/// The workspace crates and the forbidden crates in a manifest's `[dependencies]`.
fn layer(root: &Path, name: &str, allowed: &[&str]) -> anyhow::Result<Vec<String>> {
    let path = root.join(name).join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let used = dependencies(&text);
    let known: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let pure = PURE.iter().find(|(crate_name, _)| *crate_name == name).map_or(&[][..], |(_, banned)| banned);
    let mut complaints = Vec::new();
    for used in &used {
        if known.contains(used.as_str()) && !allowed.contains(&used.as_str()) {
            complaints.push(format!("{name} may not depend on {used} (see the layers in ARCHITECTURE.md)"));
        }
        if pure.contains(&used.as_str()) {
            complaints.push(format!("{name} may not use {used}"));
        }
    }
    Ok(complaints)
}

fn dependencies(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?,
        Err(_) => return Ok(()),
    };
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn source(shown: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: String| complaints.push(format!("{}: {what}", shown.display()));
    if !text.starts_with("//!") {
        complain("a file begins with its module documentation (`//!`)".into());
    }
    let lines = text.lines().count();
    if lines > LONG_FILE_LINES && !text.contains("Long because") {
        complain(format!(
            "{lines} lines; split it, or say in its documentation why it is long (\"Long because …\")"
        ));
    }
    for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("unimpl", "emented!")]
    {
        if text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!')).any(|word| word == mark) {
            complain(format!("holds the unfinished mark {mark}"));
        }
    }
    let names_node =
        text.contains(concat!("node", "::Options")) || text.contains(concat!("node", "::mutant_ids"));
    if names_node && shown.starts_with("src") && shown != Path::new("src/cli/node.rs") {
        complain("only src/cli/node.rs may name the crate node".into());
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn house_rules_hold() {
        check(crate::root()).unwrap();
    }

    #[test]
    fn broken_rules_are_seen() {
        assert_eq!(source(Path::new("x.rs"), "fn main() {}\n").len(), 1);
        assert_eq!(source(Path::new("x.rs"), concat!("//! Doc.\n// TO", "DO: later\n")).len(), 1);
        assert_eq!(source(Path::new("x.rs"), &format!("//! Doc.\n{}", "\n".repeat(700))).len(), 1);
        assert!(source(Path::new("x.rs"), "//! Doc.\n").is_empty());
        let manifest =
            "[package]\nname = 1\n[dependencies]\ntokio.workspace = true\nserde = \"1\"\n\n[lints]\nx = 1\n";
        assert_eq!(dependencies(manifest), ["tokio", "serde"]);
    }
}
