//! Judges a recorded history against a model: `cargo run --release -p checker --example judge -- register history.jsonl`.

use std::path::PathBuf;
use std::time::Instant;

use checker::{Budget, Spec, linearizable};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let spec: Spec = arguments.next().ok_or("which model?")?.parse()?;
    let path = PathBuf::from(arguments.next().ok_or("which history?")?);
    let (start, (history, _torn)) = (Instant::now(), history::read_history(&path)?);
    let read = start.elapsed();
    let finding = linearizable(spec, &history, &Budget::default())?;
    let judged = start.elapsed() - read;
    println!("{:?}: read in {read:?}, judged in {judged:?}", finding.result);
    finding.anomalies.iter().for_each(|anomaly| println!("{}", anomaly.explanation));
    Ok(())
}
