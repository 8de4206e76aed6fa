//! What the figures were measured on and with: without it they mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde::Serialize;

/// Hardware, system and compilers; `unknown` where the machine does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// `None` when there is none.
    pub(crate) go: Option<String>,
    /// The version that `go.mod` pins.
    pub(crate) porcupine: String,
}

impl Machine {
    /// Asks this machine.
    pub(crate) fn here(root: &Path, go: Option<String>, porcupine: String) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field(&processors, "model name").map_or_else(unknown, str::to_owned),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory: field(&memory, "MemTotal").and_then(gibibytes).unwrap_or_else(unknown),
            kernel: if kernel.is_empty() { unknown() } else { format!("Linux {}", kernel.trim()) },
            rustc: version(Command::new("rustc").arg("--version").current_dir(root)).unwrap_or_else(unknown),
            go,
            porcupine,
        }
    }

    /// For people, in one paragraph.
    pub(crate) fn described(&self) -> String {
        let go = self.go.as_deref().unwrap_or("no Go on this machine");
        format!("{}; {go}; Porcupine {}", self.hardware(), self.porcupine)
    }

    /// The same without the programs that only the checker is compared with.
    pub(crate) fn hardware(&self) -> String {
        let Self { processor, cores, memory, kernel, rustc, .. } = self;
        format!("{processor}, {cores} cores, {memory}, {kernel}; {rustc}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The first line that a command prints, when it exists and succeeds.
pub(crate) fn version(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// The value of a `name : value` line of a file in `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// `24100000 kB` as `23.0 GiB`.
fn gibibytes(kilobytes: &str) -> Option<String> {
    let kibibytes: f64 = kilobytes.strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{:.1} GiB", kibibytes / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert_eq!(field(text, "flags"), None);
        assert_eq!(gibibytes("24117248 kB").as_deref(), Some("23.0 GiB"));
        assert_eq!(gibibytes("much"), None);
    }

    #[test]
    fn command_that_does_not_exist_has_no_version() {
        assert_eq!(version(&mut Command::new("/does/not/exist")), None);
        assert_eq!(version(Command::new("echo").arg("go version 9")).as_deref(), Some("go version 9"));
    }
}
