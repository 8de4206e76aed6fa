//! Finding the executables of targets.

use std::path::{Path, PathBuf};

use targets::{Executable, Target};

use crate::cli::{Failure, usage};
use crate::exit;

/// A program of the search path.
pub(crate) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// The executable of a target: the one that the user named, or the target's own default.
pub(crate) fn resolve(target: &dyn Target, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    match (given, target.executable()) {
        (Some(path), _) if is_executable(path) => Ok(path.canonicalize()?),
        (Some(path), _) if path.exists() => {
            Err(usage(format!("{} is no executable file; check --binary", path.display())))
        }
        (Some(path), _) => Err(usage(format!("there is no {}; check --binary", path.display()))),
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
