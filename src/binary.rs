//! Finding the executables of targets.

use std::path::{Path, PathBuf};

use nemesis::Kind;
use targets::{Executable, Target};

use crate::cli::{Failure, usage};
use crate::exit;
use crate::plan::Plan;

/// A program of the search path.
pub(crate) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// The executables of a run.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) target: PathBuf,
    /// What nodes are upgraded to.
    pub(crate) upgrade: Option<PathBuf>,
}

impl Binaries {
    /// Finds everything that a plan names, or says what is missing.
    pub(crate) fn find(plan: &Plan) -> anyhow::Result<Self> {
        let upgrade = plan.upgrade_to.as_deref().map(|path| named(path, "--upgrade-to")).transpose()?;
        for nemesis in plan.nemeses()? {
            if let Some(file) = nemesis.argument().filter(|_| nemesis.kind() == Kind::Command) {
                named(Path::new(file), "--nemesis command:FILE")?;
            }
        }
        Ok(Self { target: resolve(plan.target().as_ref(), plan.binary.as_deref())?, upgrade })
    }
}

/// An executable that the user named in an option.
fn named(path: &Path, option: &str) -> anyhow::Result<PathBuf> {
    if is_executable(path) {
        Ok(path.canonicalize()?)
    } else if path.exists() {
        Err(usage(format!("{} is no executable file; check {option}", path.display())))
    } else {
        Err(usage(format!("there is no {}; check {option}", path.display())))
    }
}

/// The executable of a target: the one that the user named, or the target's own default.
fn resolve(target: &dyn Target, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match (given, target.executable()) {
        (Some(path), _) => named(path, "--binary"),
        (None, Executable::This) => Ok(std::env::current_exe()?),
        (None, Executable::InPath { name, package }) => find_in_path(name).ok_or_else(|| {
            let message = format!(
                "{name} not found in PATH: install {package} (`apt-get install {package}` on Debian), or name a build with --binary PATH"
            );
            Failure { code: exit::INFRASTRUCTURE, message }.into()
        }),
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
