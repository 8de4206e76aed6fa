//! `cargo xtask bench checker`: our checker and Porcupine judge the same histories, and a table says how they compare.
//!
//! Each checker runs on each history as a process of its own, in turn with the other, under the same limits; reading is
//! timed apart from checking, and peak memory is that of the process. The table goes to the terminal, to
//! `bench/checker.md` and to `bench/checker.json`. Guarantees: a verdict that contradicts the other checker or the
//! generator ends the run with an error that names the history and keeps its file. Without Go on the machine ours is
//! measured alone. It does not measure how good explanations are.
//!
//! Start reading at [`run`]; the histories are in `cells`, the call of our checker is in `ours`, Porcupine's side is the
//! Go program in `bench/porcupine/`.

mod answer;
mod arguments;
mod cells;
mod child;
mod histories;
mod machine;
mod measure;
mod ours;
mod porcupine;
mod render;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, bail, ensure};

use answer::Limits;
use arguments::Arguments;
use histories::Subject;
use machine::Machine;
use measure::Side;
use report::{Report, Row};

/// What either checker may spend on one history.
const LIMITS: Limits = Limits { seconds: 60, bytes: 8 << 30 };

/// The word after which this program judges one history with our checker, as a child of itself.
pub(crate) const CHILD: &str = "bench-child";

pub(crate) use machine::version;
pub(crate) use porcupine::{go_version, test as test_go};

/// Runs the benchmark.
pub(crate) fn run(root: &Path, words: &[String]) -> anyhow::Result<()> {
    let arguments = Arguments::parse(words)?;
    if cfg!(debug_assertions) {
        return run_optimised(root, words);
    }
    let work = root.join("target/bench");
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let subjects = histories::selected(&arguments, &work)?;
    let go = go_version();
    let porcupine = match &go {
        Some(_) => Some(porcupine::build(root, &work)?),
        None => {
            println!("Go was not found on this machine: shakedown is measured alone (install golang-go)");
            None
        }
    };
    let bench = Bench { ours: env::current_exe()?, porcupine, generator: generator(root, &arguments)? };
    let machine = Machine::here(root, go, porcupine::pinned_version(root)?);
    println!("{}", machine.described());
    let (rows, complaints) = bench.measure_all(&subjects)?;
    let report = Report::new(arguments.selection(), LIMITS, machine, rows);
    publish(root, &report)?;
    ensure!(complaints.is_empty(), "something is wrong:\n{}", complaints.join("\n"));
    Ok(())
}

/// What figures of this machine are measured on, in one paragraph.
pub(crate) fn machine(root: &Path) -> anyhow::Result<String> {
    Ok(Machine::here(root, None, porcupine::pinned_version(root)?).hardware())
}

/// Judges one history with our checker and prints the answer: `bench-child FILE MODEL SECONDS BYTES`.
pub(crate) fn child(words: &[String]) -> anyhow::Result<()> {
    let [file, model, seconds, bytes] = words else {
        bail!("usage: {CHILD} FILE MODEL SECONDS BYTES");
    };
    let limits = Limits { seconds: seconds.parse()?, bytes: bytes.parse()? };
    println!("{}", serde_json::to_string(&ours::check(Path::new(file), model, limits)?)?);
    Ok(())
}

/// Runs this command again in a build that is worth measuring.
fn run_optimised(root: &Path, words: &[String]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "xtask", "--manifest-path"]);
    // Not from the root: the user's files are relative to where the user is.
    command.arg(root.join("Cargo.toml")).args(["--", "bench"]).args(words);
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command that writes generated histories: the user's, or `shakedown generate` of this checkout.
fn generator(root: &Path, arguments: &Arguments) -> anyhow::Result<Vec<String>> {
    if let Some(command) = &arguments.generator {
        return Ok(command.clone());
    }
    let status = cargo()
        .args(["build", "--release", "--quiet", "--package", "shakedown"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "cannot build shakedown");
    // Cargo puts the programs of one profile into one folder.
    let shakedown = env::current_exe()?.with_file_name("shakedown");
    Ok(vec![shakedown.display().to_string(), "generate".to_owned()])
}

/// The programs that take part.
struct Bench {
    ours: PathBuf,
    porcupine: Option<PathBuf>,
    generator: Vec<String>,
}

impl Bench {
    /// Measures everything; what is wrong with a history does not keep the others from being measured.
    fn measure_all(&self, subjects: &[Subject]) -> anyhow::Result<(Vec<Row>, Vec<String>)> {
        let (mut rows, mut all_complaints) = (Vec::new(), Vec::new());
        for subject in subjects {
            subject.prepare(&self.generator)?;
            let row = self.measure(subject)?;
            println!("{}", render::line(&row, LIMITS));
            let complaints = row.complaints();
            if complaints.is_empty() {
                subject.discard()?;
            }
            let file = subject.path.display();
            for complaint in complaints {
                println!("  wrong: {complaint} ({file})");
                all_complaints.push(format!("{complaint}; the history is {file}"));
            }
            rows.push(row);
        }
        Ok((rows, all_complaints))
    }

    fn measure(&self, subject: &Subject) -> anyhow::Result<Row> {
        let run = |program: &mut Command| child::run(program, &subject.path, &subject.model, LIMITS);
        let ours = || run(Command::new(&self.ours).arg(CHILD));
        let mut sides: Vec<Side<'_>> = vec![Box::new(ours)];
        if let Some(program) = &self.porcupine {
            sides.push(Box::new(move || run(&mut Command::new(program))));
        }
        let mut answers = measure::alternate(&mut sides)?.into_iter();
        let ours = answers.next().context("invariant: an answer for each side")?;
        let Subject { name, model, expected, goal, .. } = subject;
        Ok(Row::new(name, model, *expected, *goal, ours, answers.next()))
    }
}

/// Prints the totals and writes the report.
fn publish(root: &Path, report: &Report) -> anyhow::Result<()> {
    for line in render::totals(report) {
        println!("{line}");
    }
    let json = serde_json::to_string_pretty(report)? + "\n";
    for (name, text) in [("checker.md", render::markdown(report)), ("checker.json", json)] {
        let path = root.join("bench").join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("written: {}", path.display());
    }
    Ok(())
}
