//! Runs one checker on one history as a process of its own, and stops it at the limits.
//!
//! A child prints one line of JSON, an [`Answer`], and ends. It keeps the time limit itself; what does not is stopped a
//! little later. Memory is watched from here, by what the system says is resident. A child is stopped by its process id
//! alone.

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::answer::{Answer, Limits, Verdict};

/// How often a child is looked at. At several GiB a second, memory overshoots its limit by a few per cent.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// What a child may need for reading its history, beside the time limit for checking.
const READING_LIMIT: Duration = Duration::from_secs(120);

/// The most of a failed child's complaint that is kept, in bytes.
const COMPLAINT_BYTES: usize = 400;

/// Runs `program` with `FILE MODEL SECONDS BYTES` after its own arguments.
pub(crate) fn run(
    program: &mut Command,
    history: &Path,
    model: &str,
    limits: Limits,
) -> anyhow::Result<Answer> {
    // Files, unlike pipes, take everything that a crashing child has to say without anybody reading.
    let (mut out, mut err) = (temporary_file()?, temporary_file()?);
    program.arg(history).arg(model).arg(limits.seconds.to_string()).arg(limits.bytes.to_string());
    program.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let mut child = program.spawn().with_context(|| format!("cannot start {:?}", program.get_program()))?;
    if let Some(stopped) = watch(&mut child, limits)? {
        return Ok(stopped);
    }
    let status = child.wait()?;
    let line = text(&mut out)?;
    match serde_json::from_str(&line) {
        Ok(answer) if status.success() => Ok(answer),
        _ => {
            let complaint = format!("{status}: {}", shortened(&text(&mut err)?));
            Ok(Answer::without_times(Verdict::Failed, 0, complaint))
        }
    }
}

/// Waits for the end of a child; an answer when it had to be stopped.
fn watch(child: &mut Child, limits: Limits) -> anyhow::Result<Option<Answer>> {
    let deadline = Instant::now() + READING_LIMIT + Duration::from_secs(limits.seconds);
    let process = child.id().to_string();
    let mut peak = 0;
    loop {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        // A child that ended since then has no memory any more; its answer says its peak.
        peak = peak_bytes(&process).unwrap_or(peak);
        let verdict = match () {
            () if peak > limits.bytes => Verdict::OutOfMemory,
            () if Instant::now() > deadline => Verdict::OutOfTime,
            () => {
                thread::sleep(WATCH_INTERVAL);
                continue;
            }
        };
        child.kill()?;
        child.wait()?;
        return Ok(Some(Answer::without_times(verdict, peak, String::new())));
    }
}

/// The most memory that a process ever had resident, in bytes.
pub(crate) fn peak_bytes(process: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let kibibytes: u64 = kibibytes.with_context(|| format!("{path} has no VmHWM"))?.trim().parse()?;
    Ok(kibibytes << 10)
}

fn temporary_file() -> anyhow::Result<fs::File> {
    tempfile::tempfile().context("cannot make a temporary file")
}

fn text(file: &mut fs::File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The beginning of a complaint, on one line.
fn shortened(complaint: &str) -> String {
    let mut line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = (0..=COMPLAINT_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { seconds: 60, bytes: 1 << 30 };

    /// A child of the shell, whose `$0` is the history and `$1` the model.
    fn shell(script: &str, limits: Limits) -> Answer {
        run(Command::new("sh").args(["-c", script]), Path::new("/a history"), "kv", limits).unwrap()
    }

    #[test]
    fn line_of_a_child_is_its_answer() {
        let line = r#"{"verdict":"ok","operations":3,"parse_seconds":0,"check_seconds":0,"repetitions":1,
            "peak_bytes":5,"note":"'"$0 $1 $2 $3"'"}"#;
        let answer = shell(&format!("echo '{line}'"), LIMITS);
        assert_eq!((answer.verdict, answer.operations), (Verdict::Ok, 3));
        assert_eq!(answer.note, "/a history kv 60 1073741824");
    }

    #[test]
    fn child_that_fails_is_quoted() {
        let answer = shell("echo no such model >&2; exit 3", LIMITS);
        assert_eq!(answer.verdict, Verdict::Failed);
        assert!(answer.note.contains("exit status: 3: no such model"), "{}", answer.note);
        assert_eq!(shell("echo nonsense", LIMITS).verdict, Verdict::Failed);
    }

    #[test]
    fn child_that_needs_too_much_memory_is_stopped() {
        let limits = Limits { bytes: 64 << 10, ..LIMITS };
        let answer = shell("exec sleep 600", limits);
        assert_eq!(answer.verdict, Verdict::OutOfMemory);
        assert!(answer.peak_bytes > limits.bytes);
    }

    #[test]
    fn complaints_are_short_and_whole_characters() {
        assert_eq!(shortened(" a\n b "), "a b");
        let long = "ä".repeat(COMPLAINT_BYTES);
        assert_eq!(shortened(&long).len(), COMPLAINT_BYTES);
        assert_eq!(shortened(&format!("x{long}")).len(), COMPLAINT_BYTES - 1);
    }
}
