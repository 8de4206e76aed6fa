//! Whether memory is bounded: our three nodes write for long, and every few seconds the system is asked how much they have.
//!
//! Keys are written again and again, so the data does not grow, and whatever does is a queue, a log or a leak that has no
//! bound. The first fifth is left out: until then the log, which snapshots cut, and the buffers reach their size.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::cluster::Cluster;
use super::generator::{Generator, Load, Operation};
use super::processes::anonymous_bytes;
use super::report::median;
use super::servers::Program;

/// How often the system is asked.
const SAMPLE_PAUSE: Duration = Duration::from_secs(5);
/// Clients that write all the time.
const CLIENTS: usize = 64;
/// What is left of the time when it is not worth beginning again.
const LEAST_LOAD: Duration = Duration::from_secs(1);
/// How often another node may begin to lead.
const MAX_LEADER_CHANGES: usize = 20;
/// By what share the median of the last fifth may be above that of the second fifth.
const GROWTH_LIMIT: f64 = 0.2;
/// Every so many samples stand in the table.
const ROWS: usize = 20;

/// What the nodes had at a moment, in bytes.
#[derive(Debug, Clone)]
struct Sample {
    after: Duration,
    nodes: Vec<u64>,
}

/// Writes for `duration`; the page that says what became of the memory. It is an error when it grows on and on.
pub(crate) fn run(
    generator: &Generator,
    ours: &Program,
    work: &Path,
    duration: Duration,
    machine: &str,
) -> anyhow::Result<String> {
    let mut cluster = Cluster::prepare(ours, work)?;
    cluster.start()?;
    let leader = cluster.settle()?;
    generator.fill(&cluster, leader)?;
    let (processes, is_over) = (cluster.processes(), AtomicBool::new(false));
    let pause = SAMPLE_PAUSE.min(duration / 50);
    let (changes, samples) = thread::scope(|scope| {
        let sampling = scope.spawn(|| sample_until(&is_over, &processes, pause));
        let changes = write_for(duration, generator, &mut cluster);
        is_over.store(true, Ordering::Relaxed);
        let samples = sampling.join().map_err(|_| anyhow::anyhow!("the thread that samples panicked"))??;
        anyhow::Ok((changes?, samples))
    })?;
    let writes = cluster.applied()?;
    let growth = growth(&samples).context("too few samples")?;
    let mut page = format!(
        "# Memory of our Raft server under writes\n\nBy `cargo xtask bench node --memory`, on {machine}.\n\n{writes} durable puts \
         by {CLIENTS} clients in {:.0} s, during which another node began to lead {changes} times. Of the node whose \
         memory (`RssAnon`) grew most, the median in the last fifth of the time is {growth:+.1} % beside that in the second fifth; \
         the limit is +{:.0} %.\n\n",
        duration.as_secs_f64(),
        GROWTH_LIMIT * 100.0,
        growth = growth * 100.0,
    );
    table(&mut page, &samples)?;
    println!("{page}");
    ensure!(growth <= GROWTH_LIMIT, "memory grows by {:.0} % while nothing is added", growth * 100.0);
    Ok(page)
}

/// Writes without a pause, and follows the leader when it changes: nobody favours this load, and other programs may cost the
/// cluster its leader. Says how often that was.
fn write_for(duration: Duration, generator: &Generator, cluster: &mut Cluster) -> anyhow::Result<usize> {
    let end = Instant::now() + duration;
    for changes in 0..=MAX_LEADER_CHANGES {
        let leader = cluster.settle()?;
        let measure = end.saturating_duration_since(Instant::now());
        if measure < LEAST_LOAD {
            return Ok(changes);
        }
        let load = Load { operation: Operation::Put, clients: CLIENTS, warm_up: Duration::ZERO, measure };
        match generator.load(cluster, leader, load) {
            Ok(_) => return Ok(changes),
            Err(error) if cluster.settle()? == leader => return Err(error),
            Err(_) => {}
        }
    }
    bail!("the leader changed more than {MAX_LEADER_CHANGES} times: the machine is too busy")
}

fn sample_until(is_over: &AtomicBool, processes: &[u32], pause: Duration) -> anyhow::Result<Vec<Sample>> {
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        samples.push(sample(processes, begin)?);
        thread::sleep(pause);
    }
    Ok(samples)
}

fn sample(processes: &[u32], begin: Instant) -> anyhow::Result<Sample> {
    let nodes: Vec<u64> =
        processes.iter().map(|process| anonymous_bytes(*process)).collect::<Result<_, _>>()?;
    Ok(Sample { after: begin.elapsed(), nodes })
}

/// By what share the node that grew most has grown from the second fifth of the time to the last; `None` without samples in
/// either.
fn growth(samples: &[Sample]) -> Option<f64> {
    let fifth = samples.last()?.after / 5;
    let within = |from: u32, to: u32, node: usize| {
        let inside = samples.iter().filter(move |sample| (fifth * from..=fifth * to).contains(&sample.after));
        median(inside.map(|sample| sample.nodes[node] as f64))
    };
    let nodes = 0..samples[0].nodes.len();
    let growths: Vec<f64> = nodes.map(|node| within(4, 5, node) / within(1, 2, node) - 1.0).collect();
    let known = growths.iter().all(|growth| growth.is_finite());
    known.then(|| growths.into_iter().fold(f64::NEG_INFINITY, f64::max))
}

fn table(page: &mut String, samples: &[Sample]) -> std::fmt::Result {
    let nodes = samples.first().map_or(0, |sample| sample.nodes.len());
    let titles: Vec<String> = (1..=nodes).map(|node| format!("n{node} MiB")).collect();
    writeln!(page, "| after s | {} |\n|---|{}", titles.join(" | "), "---|".repeat(nodes))?;
    let mebibytes = |bytes: &u64| format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    for sample in samples.iter().step_by(samples.len().div_ceil(ROWS).max(1)) {
        let cells: Vec<String> = sample.nodes.iter().map(mebibytes).collect();
        writeln!(page, "| {:.0} | {} |", sample.after.as_secs_f64(), cells.join(" | "))?;
    }
    let peaks: Vec<String> = (0..nodes)
        .map(|node| mebibytes(&samples.iter().map(|sample| sample.nodes[node]).max().unwrap_or(0)))
        .collect();
    writeln!(page, "| **most** | {} |", peaks.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(bytes: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample =
            |second| Sample { after: Duration::from_secs(second), nodes: vec![1 << 20, bytes(second)] };
        (0..=100).map(sample).collect()
    }

    #[test]
    fn memory_that_wavers_does_not_grow() {
        let growth = growth(&samples(|second| (50 + second % 7) << 20)).unwrap();
        assert!(growth.abs() < 0.1, "{growth}");
    }

    #[test]
    fn memory_that_is_slowly_lost_grows() {
        let growth = growth(&samples(|second| (50 + second) << 20)).unwrap();
        assert!(growth > GROWTH_LIMIT, "{growth}");
    }

    #[test]
    fn what_is_reached_in_the_first_fifth_is_no_growth() {
        assert_eq!(growth(&samples(|second| second.min(20) << 20)), Some(0.0));
    }

    #[test]
    fn without_samples_nothing_is_claimed() {
        assert_eq!(growth(&[]), None);
        assert_eq!(growth(&samples(|_| 0)), None);
    }

    #[test]
    fn table_has_a_row_for_every_twentieth_and_the_most() {
        let mut page = String::new();
        table(&mut page, &samples(|second| second << 20)).unwrap();
        assert_eq!(page.lines().count(), 2 + 101_usize.div_ceil(6) + 1);
        assert!(page.ends_with("| **most** | 1.0 | 100.0 |\n"), "{page}");
    }
}
