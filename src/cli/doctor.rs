//! `shakedown doctor`: what can be done on this machine, and why not.

use std::process::Command;

use anyhow::Context;
use targets::Executable;

use crate::{binary, exit};

pub(super) fn main() -> anyhow::Result<u8> {
    let own = std::env::current_exe().context("cannot find this executable")?;
    let guardian = || {
        let mut guardian = Command::new(&own);
        guardian.arg("guardian");
        guardian
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    println!("mechanisms");
    for probe in runtime.block_on(nemesis::doctor::examine(guardian)) {
        let detail = format!("{} ({})", probe.detail, probe.used_for);
        row(probe.available, probe.mechanism, &detail, Some(probe.remedy));
    }
    println!("targets");
    for target in targets::all() {
        match target.executable() {
            Executable::This => row(true, target.name(), "part of this binary", None),
            Executable::InPath { name, package } => match binary::find_in_path(name) {
                Some(path) => row(true, target.name(), &path.display().to_string(), None),
                None => row(
                    false,
                    target.name(),
                    &format!("no `{name}` in PATH"),
                    Some(&format!("install {package}, or name a build with --binary")),
                ),
            },
        }
    }
    Ok(exit::VALID)
}

fn row(available: bool, name: &str, detail: &str, remedy: Option<&str>) {
    let word = if available { "yes" } else { "no" };
    println!("  {word:<3}  {name:<28}  {detail}");
    if let Some(remedy) = remedy.filter(|text| !available && !text.is_empty()) {
        println!("  {:<3}  {:<28}  -> {remedy}", "", "");
    }
}
