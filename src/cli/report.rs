//! `shakedown report`: write the report of a run directory again.

use std::path::PathBuf;

use history::RunPaths;

use super::usage;
use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory, such as `store/latest`
    run_dir: PathBuf,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let paths = RunPaths::new(&args.run_dir);
    if !paths.run().exists() {
        return Err(usage(format!("{} is no run directory: it has no run.json", args.run_dir.display())));
    }
    let rendered = reports::render(&paths).map_err(usage)?;
    for problem in &rendered.problems {
        eprintln!("{:>12} {problem}", "note:");
    }
    println!("{:>12} {}", "report:", paths.report().display());
    Ok(exit::VALID)
}
