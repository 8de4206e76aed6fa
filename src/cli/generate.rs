//! `shakedown generate`: simulate an object and write the history that its clients record.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use history::event::FORMAT_VERSION;
use history::{Header, HistoryWriter, Nanos};
use workloads::simulate::{SimulatedModel, Simulation, Summary, THINK_TIME_LIMIT, UNIT_NS, simulate_paced};

use super::output::{self, Existing, cannot_write};
use super::usage;
use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long, help = format!("The object: {}", SimulatedModel::ALL.map(SimulatedModel::name).join(", ")))]
    model: SimulatedModel,
    /// How many operations
    #[arg(long, default_value_t = 10_000)]
    operations: u64,
    /// How many clients, each with one operation open at a time
    #[arg(long, default_value_t = 10)]
    concurrency: u32,
    /// How many independent keys
    #[arg(long, default_value_t = 1)]
    keys: u64,
    /// Of a hundred operations, so many end with an unknown outcome
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_name = "PERCENT")]
    unknown: f64,
    /// How many observations are falsified so that the history is provably wrong
    #[arg(long, default_value_t = 0)]
    violations: u32,
    /// How many values a cas-register has, or how many elements of a set are in use at a time [default: 5 and 20]
    #[arg(long)]
    values: Option<u64>,
    /// The mean pause of a client between two operations, in mean durations of an operation
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_name = "DURATIONS")]
    think: f64,
    /// The same arguments give the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file; compressed when it ends in `.gz`, the standard output when it is `-`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let simulation = simulation(args)?;
    let think_time = think_time(args.think)?;
    let written = output::write(&args.out, Existing::Replaced, |output| {
        write_to(output, &simulation, think_time).with_context(|| cannot_write(&args.out))
    })?;
    let Some(summary) = written else { return Ok(exit::VALID) };
    eprint!("{}", said(&simulation, &summary));
    let found = summary.violations.len();
    if found < simulation.violations as usize {
        return Err(usage(format!(
            "--violations {}: only {found} fit into this history; it needs more operations, or fewer unknown outcomes",
            simulation.violations
        )));
    }
    Ok(exit::VALID)
}

fn simulation(args: &Args) -> anyhow::Result<Simulation> {
    let default = args.model.default_values();
    if args.values.is_some() && default.is_none() {
        return Err(usage(format!("--values: `{}` does not have a number of values", args.model)));
    }
    let simulation = Simulation {
        model: args.model,
        operations: args.operations,
        concurrency: args.concurrency,
        keys: args.keys,
        unknown_percent: args.unknown,
        violations: args.violations,
        values: args.values.or(default).unwrap_or_default(),
        seed: args.seed,
    };
    simulation.check().map_err(|error| usage(format!("--{error}")))?;
    Ok(simulation)
}

fn think_time(durations: f64) -> anyhow::Result<Nanos> {
    let most = THINK_TIME_LIMIT.0 / UNIT_NS;
    if !(0.0..=most as f64).contains(&durations) {
        return Err(usage(format!("--think {durations}: between 0 and {most} are possible")));
    }
    Ok(Nanos((durations * UNIT_NS as f64) as u64))
}

fn write_to(output: impl Write, simulation: &Simulation, think_time: Nanos) -> io::Result<Summary> {
    let mut writer = HistoryWriter::new(output, &header(simulation.model))?;
    let summary = simulate_paced(simulation, think_time, |mut event| writer.append(&mut event))?;
    writer.flush()?;
    Ok(summary)
}

fn header(model: SimulatedModel) -> Header {
    Header {
        shakedown_history: FORMAT_VERSION,
        claim: "linearizable".into(),
        workload: model.to_string(),
        clock: "simulated".into(),
        run_id: String::new(),
        wall_origin_ms: 0,
        target_digest: String::new(),
        suite_digest: String::new(),
    }
}

fn said(simulation: &Simulation, summary: &Summary) -> String {
    let mut text = format!(
        "{:>12} {}: {} operations, {} of unknown outcome, {} events, {} of simulated time\n",
        "generated:", simulation.model, summary.operations, summary.unknown, summary.events, summary.span
    );
    for violation in &summary.violations {
        let operations: Vec<String> = violation.operations.iter().map(u64::to_string).collect();
        text += &format!("{:>12} {}: operation {}\n", "violation:", violation.what, operations.join(" and "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_counted_in_durations() {
        assert_eq!(think_time(0.0).unwrap(), Nanos(0));
        assert_eq!(think_time(1.5).unwrap(), Nanos(1_500_000));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1001.0] {
            assert!(think_time(wrong).is_err(), "{wrong}");
        }
    }
}
