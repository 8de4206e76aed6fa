//! The tests of every fault once more, as an account without any privilege: what works for root only would go unnoticed
//! where the tests run as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// An account that owns nothing (`nobody`).
const ACCOUNT: u32 = 65_534;

/// Runs the tests of the nemesis without privileges; as an ordinary user there is nothing to do.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    if !is_root()? {
        println!("this account has no privileges: the tests have run without already");
        return Ok(());
    }
    let directory = std::env::temp_dir().join(format!("shakedown-unprivileged-{}", std::process::id()));
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    std::os::unix::fs::chown(&directory, Some(ACCOUNT), Some(ACCOUNT))?;
    let result = tests(root).and_then(|tests| tests.iter().try_for_each(|test| run_test(test, &directory)));
    // What failed may be the reason why its remains cannot be removed, so it comes first.
    result
        .and(fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display())))
}

fn is_root() -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self").context("cannot look at /proc/self")?.uid() == 0)
}

/// The test programs of the nemesis, built.
fn tests(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["test", "--release", "-p", "nemesis", "--no-run", "--message-format=json"];
    let output = Command::new(cargo).args(arguments).current_dir(root).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cannot build the tests of the nemesis");
    let mut programs = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let is_test = message["profile"]["test"] == true;
        programs.extend(message["executable"].as_str().filter(|_| is_test).map(PathBuf::from));
    }
    ensure!(!programs.is_empty(), "cargo names no test programs");
    Ok(programs)
}

/// Runs a copy where the account can reach it: the folders above a checkout are often closed to others.
fn run_test(program: &Path, directory: &Path) -> anyhow::Result<()> {
    let name = program.file_name().context("a program without a name")?;
    let copy = directory.join(name);
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    println!("as uid {ACCOUNT}: {}", name.display());
    let account = ACCOUNT.to_string();
    let status = Command::new("setpriv")
        .args(["--reuid", &account, "--regid", &account, "--clear-groups"])
        .arg(&copy)
        .current_dir(directory)
        .env("HOME", directory)
        .env("TMPDIR", directory)
        .status()
        .context("cannot execute setpriv (Debian: util-linux)")?;
    ensure!(status.success(), "{} failed without privileges", name.display());
    Ok(())
}
