//! The Go program of ours that judges histories with Porcupine: `bench/porcupine/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::machine;

/// The published Go module.
const MODULE: &str = "github.com/anishathalye/porcupine";

/// The Go compiler of this machine, if there is one.
pub(crate) fn go_version() -> Option<String> {
    machine::version(Command::new("go").arg("version"))
}

/// The version of Porcupine that our program pins.
pub(crate) fn pinned_version(root: &Path) -> anyhow::Result<String> {
    let path = sources(root).join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let version = required(&text).with_context(|| format!("{} does not require {MODULE}", path.display()))?;
    Ok(version.to_owned())
}

/// Builds the program into `work`, an absolute path; Go fetches the pinned module when it is not there yet.
pub(crate) fn build(root: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    let program = work.join("porcupine");
    let mut command = Command::new("go");
    command.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".").current_dir(sources(root));
    ensure!(command.status()?.success(), "cannot build {}", sources(root).display());
    Ok(program)
}

/// Lints and tests the program.
pub(crate) fn test(root: &Path) -> anyhow::Result<()> {
    for verb in ["vet", "test"] {
        let mut command = Command::new("go");
        command.args([verb, "-mod=readonly", "./..."]).current_dir(sources(root));
        ensure!(command.status()?.success(), "go {verb} failed in {}", sources(root).display());
    }
    Ok(())
}

fn sources(root: &Path) -> PathBuf {
    root.join("bench/porcupine")
}

/// The version in a `require` line of a `go.mod`.
fn required(manifest: &str) -> Option<&str> {
    let mut words =
        manifest.lines().map(|line| line.split_whitespace().skip_while(|word| *word == "require"));
    words.find_map(|mut words| words.next().filter(|word| *word == MODULE).and(words.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_version_is_found_in_both_forms() {
        let single = format!("module m\n\nrequire {MODULE} v1.2.3\n");
        let block = format!(
            "module {MODULE}x\nrequire (\n\texample.org/a v1.0.0\n\t{MODULE} v1.2.4 // indirect\n)\n"
        );
        assert_eq!(required(&single), Some("v1.2.3"));
        assert_eq!(required(&block), Some("v1.2.4"));
        assert_eq!(required("module m\n"), None);
    }

    #[test]
    fn our_program_pins_a_published_version() {
        let version = pinned_version(crate::root()).unwrap();
        assert!(version.starts_with('v') && version.matches('.').count() == 2, "{version}");
    }
}
