//! What a disk of ours costs the process that uses it: `cargo run --release -p nemesis --example disk_cost`.
//!
//! The same process appends to a file in memory (tmpfs), in the temporary folder, and on a disk of ours that keeps its files in
//! memory, in turns. An fsync on a disk of ours takes as long as it is told to (0.5 to 5 ms, 1.95 ms on average), so what it
//! costs beyond that is the difference.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use history::{Clock, NodeId};
use nemesis::guardian::NodeCommand;
use nemesis::{Disk, EventSink, Processes, Promises};

/// How often every place is measured.
const ROUNDS: usize = 5;
/// Appends without and with an fsync in a round, and their size.
const APPENDS: u32 = 5000;
const SYNCED_APPENDS: u32 = 200;
const BYTES: usize = 1024;
/// How long a process may take.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn compare() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let name = format!("shakedown-disk-cost-{}", std::process::id());
    let (memory, temporary) = (Path::new("/dev/shm").join(&name), std::env::temp_dir().join(&name));
    let (ours, backing) = (memory.join("data"), memory.join("disk"));
    for directory in [&memory, &temporary, &ours, &backing] {
        fs::create_dir_all(directory)?;
    }
    let mut guardian = Command::new(&own);
    guardian.arg("guardian");
    let (events, _recorded) = tokio::sync::mpsc::channel(1024);
    let processes = Processes::start(guardian, EventSink::new(Clock::start(), events)).await?;
    let node = NodeId("n1".to_owned());
    processes.add(node.clone(), command(&processes, &own, "wait", &temporary, &temporary).await?);
    processes.set_disk(&node, Disk::new(ours.clone(), backing, Promises::Ordered));
    let begin = Instant::now();
    processes.launch(&node).await?;
    println!("mounted, and a process started: {:.1?}", begin.elapsed());
    let places: [(&str, &PathBuf); 3] =
        [("in memory", &memory), ("temporary folder", &temporary), ("a disk of ours", &ours)];
    let mut medians = Vec::new();
    for _ in 0..ROUNDS {
        for (_, place) in places {
            let output = temporary.join("measured");
            let _absent = fs::remove_file(&output);
            let command = command(&processes, &own, "measure", place, &temporary).await?;
            processes.execute(&NodeId("measure".to_owned()), command, LIMIT).await?.ok_or("too slow")?;
            let text = fs::read_to_string(&output)?;
            medians.push(text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?);
        }
    }
    println!("{:<18} {:>16} {:>22}", "1 KiB appended", "µs without fsync", "µs with fdatasync");
    for (at, (name, _)) in places.iter().enumerate() {
        let median = |column: usize| {
            let mut rounds: Vec<f64> =
                medians.iter().skip(at).step_by(places.len()).map(|row| row[column]).collect();
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 2]
        };
        println!("{name:<18} {:>16.1} {:>22.1}", median(0), median(1));
    }
    processes.shutdown().await?;
    fs::remove_dir_all(&memory)?;
    fs::remove_dir_all(&temporary)?;
    Ok(())
}

async fn command(
    processes: &Processes,
    own: &Path,
    role: &str,
    place: &Path,
    output: &Path,
) -> Result<NodeCommand, Box<dyn Error>> {
    let (measured, place) = (output.join("measured"), place.display().to_string());
    Ok(NodeCommand {
        executable: processes.open(own).await?,
        arguments: vec!["disk_cost".to_owned(), role.to_owned(), place],
        environment: Vec::new(),
        directory: output.to_owned(),
        stdout: measured.clone(),
        stderr: output.join("errors"),
        account: None,
        clock: None,
    })
}

/// Prints the medians, in microseconds: an append, an append that is saved.
fn measure(place: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(place.join("file"))?;
    let bytes = [7; BYTES];
    let mut median = |count: u32, sync: bool| -> std::io::Result<f64> {
        let mut took = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            file.write_all(&bytes)?;
            if sync {
                file.sync_data()?;
            }
            took.push(begin.elapsed());
        }
        took.sort();
        Ok(took[took.len() / 2].as_secs_f64() * 1e6)
    };
    println!("{} {}", median(APPENDS, false)?, median(SYNCED_APPENDS, true)?);
    fs::remove_file(place.join("file"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["guardian"] => nemesis::guardian::serve(),
        ["wait", _] => std::thread::sleep(LIMIT),
        ["measure", place] => measure(Path::new(place))?,
        _ => compare()?,
    }
    Ok(())
}
