//! The histories that are measured: generated ones, made just before they are needed and deleted after, and files that
//! the user names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use history::HistoryReader;

use super::answer::Verdict;
use super::arguments::Arguments;
use super::cells::{CELLS, Cell};
use super::report::Goal;

/// One history to be measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) path: PathBuf,
    /// What is known of it beforehand.
    pub(crate) expected: Option<Verdict>,
    pub(crate) goal: Option<Goal>,
    /// What it is generated from; `None` for files of the user.
    cell: Option<Cell>,
}

/// Everything that a command line asks for, generated histories first.
pub(crate) fn selected(arguments: &Arguments, work: &Path) -> anyhow::Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = CELLS
        .iter()
        .filter(|cell| arguments.selects(&cell.name(), cell.quick))
        .map(|cell| generated(cell, work))
        .collect();
    for file in &arguments.files {
        subjects.push(given(file, arguments.model.as_deref())?);
    }
    if subjects.is_empty() {
        let known: Vec<String> = CELLS.iter().map(Cell::name).collect();
        bail!("no history is selected; there are:\n  {}", known.join("\n  "));
    }
    Ok(subjects)
}

fn generated(cell: &Cell, work: &Path) -> Subject {
    let name = cell.name();
    Subject {
        model: cell.model.to_owned(),
        path: work.join(format!("{name}.jsonl")),
        expected: Some(cell.expected()),
        goal: cell.goal(),
        cell: Some(*cell),
        name,
    }
}

fn given(file: &Path, model: Option<&str>) -> anyhow::Result<Subject> {
    let reader = HistoryReader::open(file)?;
    let named = reader.header().map(|header| header.workload.clone());
    let model = named.or_else(|| model.map(str::to_owned)).with_context(|| {
        format!("{} does not say what it is a history of; say it with --model", file.display())
    })?;
    let name = file.display().to_string();
    Ok(Subject { name, model, path: file.to_owned(), expected: None, goal: None, cell: None })
}

impl Subject {
    /// Writes the history, unless it is the user's own.
    pub(crate) fn prepare(&self, generator: &[String]) -> anyhow::Result<()> {
        let Some(cell) = &self.cell else { return Ok(()) };
        let (program, first) = generator.split_first().context("invariant: a generator has a program")?;
        let mut command = Command::new(program);
        command.args(first).args(cell.arguments()).arg("--out").arg(&self.path);
        let output = command.output().with_context(|| format!("cannot start {program}"))?;
        ensure!(
            output.status.success(),
            "cannot generate {}: {command:?}: {}: {}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Deletes the history, unless it is the user's own.
    pub(crate) fn discard(&self) -> anyhow::Result<()> {
        if self.cell.is_some() {
            fs::remove_file(&self.path).with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        let words: Vec<String> = ["checker"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        Arguments::parse(&words).unwrap()
    }

    #[test]
    fn selection_by_name_keeps_the_order_of_the_cells() {
        let subjects = selected(&arguments(&["--only", "queue-c5-n1k"]), Path::new("w")).unwrap();
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ["queue-c5-n1k-k1-u0-v0", "queue-c5-n1k-k1-u0-v1"]);
        assert_eq!(subjects[1].expected, Some(Verdict::Illegal));
        assert_eq!(subjects[1].path, Path::new("w/queue-c5-n1k-k1-u0-v1.jsonl"));
    }

    #[test]
    fn empty_selection_lists_what_there_is() {
        let error = selected(&arguments(&["--only", "abacus"]), Path::new("w")).unwrap_err().to_string();
        assert!(error.contains("no history is selected") && error.contains("kv-c5-n1k-k1-u0-v0"), "{error}");
    }

    #[test]
    fn model_of_a_file_is_its_header_or_the_users_word() {
        let dir = tempfile::tempdir().unwrap();
        let (with, without) = (dir.path().join("with.jsonl"), dir.path().join("without.jsonl"));
        let header = r#"{"shakedown_history":1,"claim":"linearizable","workload":"kv","clock":"simulated"}"#;
        fs::write(&with, format!("{header}\n")).unwrap();
        fs::write(&without, "").unwrap();
        assert_eq!(given(&with, Some("queue")).unwrap().model, "kv");
        assert_eq!(given(&without, Some("queue")).unwrap().model, "queue");
        assert!(given(&without, None).unwrap_err().to_string().contains("--model"));
        given(&with, None).unwrap().discard().unwrap();
        assert!(with.exists(), "files of the user are never deleted");
    }

    #[test]
    fn generator_gets_the_arguments_of_the_cell_and_its_failure_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let subject = generated(&CELLS[0], dir.path());
        let command = |script: &str| ["sh", "-c", script, "generator"].map(str::to_owned).to_vec();
        let script = r#"while [ "$1" != --out ]; do line="$line $1"; shift; done; echo $line > "$2""#;
        subject.prepare(&command(script)).unwrap();
        assert_eq!(fs::read_to_string(&subject.path).unwrap().trim(), CELLS[0].arguments().join(" "));
        subject.discard().unwrap();
        assert!(!subject.path.exists());
        let error = subject.prepare(&command("echo no such model >&2; exit 2")).unwrap_err().to_string();
        assert!(error.contains(&subject.name) && error.contains("no such model"), "{error}");
    }
}
