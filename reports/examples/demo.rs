//! Writes a simulated run directory of every outcome below the given folder and renders it: for looking at the
//! design of the report without running a cluster. `cargo run -p reports --example demo -- <folder>`

use std::path::PathBuf;

use checker::{RunOutcome, Verdict};

#[path = "../tests/fixture/mod.rs"]
mod fixture;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: demo <folder>"));
    for (name, outcome) in [
        ("valid", RunOutcome::Valid),
        ("violation", RunOutcome::Violation),
        ("unknown", RunOutcome::Unknown),
        ("infrastructure", RunOutcome::Infrastructure),
    ] {
        let dir =
            fixture::write(&folder.join(name), &fixture::Scenario { outcome, seconds: 58, per_worker: 52 });
        let rendered = reports::render(&dir).expect("the demo renders");
        let verdict: Verdict =
            serde_json::from_slice(&std::fs::read(dir.verdict()).expect("it was just written"))
                .expect("it was just written");
        println!("{}{:?}\n", reports::summary(&verdict, Some(&dir)), rendered.problems);
    }
}
