//! What it costs a program to ask for the time when its vDSO is substituted: `cargo run --release -p nemesis --example clock_cost`.
//!
//! The same loop runs in processes with the machine's clocks and with clocks of their own, in turns, because the machine is never
//! quiet. The cost of a call is the best of many batches of calls.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use history::{Clock, NodeId};
use nemesis::guardian::NodeCommand;
use nemesis::{Area, ClockFile, EventSink, Movement, NodeClock, Processes, Reader};

/// How often every kind of process is measured.
const ROUNDS: usize = 15;
/// Batches in a process, and calls in a batch.
const BATCHES: usize = 200;
const CALLS: u32 = 10_000;
/// How long a process may take.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("guardian") => nemesis::guardian::serve(),
        Some("measure") => measure(),
        _ => compare().await?,
    }
    Ok(())
}

/// Prints what a call costs, in nanoseconds: wall clock, monotonic clock.
fn measure() {
    let wall = best(|| _ = std::hint::black_box(SystemTime::now()));
    let monotonic = best(|| _ = std::hint::black_box(Instant::now()));
    println!("{wall} {monotonic}");
}

fn best(call: impl Fn()) -> f64 {
    let batch = |_| {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| call());
        begin.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
}

async fn compare() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let directory = std::env::temp_dir().join(format!("clock-cost-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mut guardian = Command::new(&own);
    guardian.arg("guardian");
    let (events, _recorded) = tokio::sync::mpsc::channel(16);
    let processes = Processes::start(guardian, EventSink::new(Clock::start(), events)).await?;
    let movements = [
        ("the machine's clocks", None, None),
        ("own clocks, right", Some("right"), None),
        ("own clocks, jump", Some("jump"), Some(Movement::Jump { by_ns: -86_400_000_000_000 })),
        ("own clocks, strobe", Some("strobe"), Some(strobe())),
    ];
    let mut clocks = Vec::new();
    for (_, name, movement) in movements {
        let Some(name) = name else {
            clocks.push(None);
            continue;
        };
        let path = directory.join(name);
        let clock = NodeClock::create(&path)?;
        // A monotonic clock that goes to and fro would measure nothing.
        movement.iter().for_each(|movement| _ = clock.change(Area::Wall, *movement));
        clocks.push(Some((path, clock)));
    }
    let mut best = vec![[f64::INFINITY; 2]; movements.len()];
    for _ in 0..ROUNDS {
        for (best, clock) in best.iter_mut().zip(&clocks) {
            let clock = clock.as_ref().map(|(path, _)| path.as_path());
            let costs = once(&processes, &own, &directory, clock).await?;
            best.iter_mut().zip(costs).for_each(|(best, cost)| *best = best.min(cost));
        }
    }
    println!("{:<22} {:>10} {:>10} {:>8}", "ns per call", "wall", "monotonic", "ratio");
    for ((name, ..), costs) in movements.iter().zip(&best) {
        println!("{name:<22} {:>10.2} {:>10.2} {:>8.3}", costs[0], costs[1], costs[0] / best[0][0]);
    }
    processes.shutdown().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn strobe() -> Movement {
    Movement::Strobe { by_ns: 60_000_000_000, period: Duration::from_millis(300) }
}

/// What a call costs in a process with such clocks.
async fn once(
    processes: &Processes,
    own: &Path,
    directory: &Path,
    clock: Option<&Path>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let output = directory.join("cost");
    let command = NodeCommand {
        executable: processes.open(own).await?,
        arguments: vec!["clock_cost".into(), "measure".into()],
        environment: Vec::new(),
        directory: directory.to_owned(),
        stdout: output.clone(),
        stderr: output.clone(),
        account: None,
        clock: clock.map(|path| ClockFile { path: path.to_owned(), reader: Reader::Canary }),
    };
    processes.execute(&NodeId("cost".into()), command, LIMIT).await?;
    let printed = std::fs::read_to_string(&output)?;
    std::fs::remove_file(&output)?;
    let costs: Vec<f64> = printed.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if costs.len() == 2 { Ok(costs) } else { Err(printed.into()) }
}
