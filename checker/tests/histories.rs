//! Every drawing in `tests/histories` gets the verdict and the explanation that stand below it.
//!
//! `UPDATE=1 cargo test -p checker --test histories` rewrites what stands below; read the difference before keeping it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use checker::{Budget, CheckOutcome, Finding, Spec, linearizable, set_full};

mod lanes;

#[test]
fn drawn_histories_are_judged_and_explained_as_written_below_them() {
    let update = std::env::var_os("UPDATE").is_some();
    let (mut different, mut outcomes) = (Vec::new(), Vec::new());
    for path in drawings() {
        let text = std::fs::read_to_string(&path).unwrap();
        let drawing = lanes::parse(&text);
        let finding = judge(&drawing);
        outcomes.push(finding.result.outcome);
        let found = show(&finding);
        if update {
            std::fs::write(&path, format!("{}\n---\n{found}", drawing.picture)).unwrap();
        } else if found != drawing.expected {
            different.push(format!("{}\nexpected:\n{}\nfound:\n{found}", path.display(), drawing.expected));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    for outcome in [CheckOutcome::Valid, CheckOutcome::Violation, CheckOutcome::Unknown] {
        assert!(outcomes.contains(&outcome), "no drawing is {outcome:?}");
    }
}

fn drawings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn judge(drawing: &lanes::Drawing) -> Finding {
    let budget = Budget::default();
    match drawing.check.as_str() {
        "set-full" => set_full(&drawing.history, &budget).unwrap(),
        name => {
            let spec: Spec = name.parse().unwrap_or_else(|error| panic!("{error}"));
            linearizable(spec, &drawing.history, &budget).unwrap()
        }
    }
}

fn show(finding: &Finding) -> String {
    let mut text = String::new();
    let outcome = format!("{:?}", finding.result.outcome).to_lowercase();
    match &finding.result.note {
        Some(note) => writeln!(text, "{outcome} ({note})").unwrap(),
        None => writeln!(text, "{outcome}").unwrap(),
    }
    for anomaly in &finding.anomalies {
        writeln!(text, "\n{} {:?}\n{}", anomaly.kind, anomaly.operations, anomaly.explanation).unwrap();
        anomaly.details.iter().for_each(|line| writeln!(text, "  {line}").unwrap());
    }
    text
}
