//! Bad input gets a clear message with the next step and the right exit code, and nothing recorded is lost.

mod common;

use std::io::Write;
use std::net::TcpListener;

use common::{SHAKEDOWN, said, script, shakedown};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn unknown_names_are_wrong_usage_and_the_message_lists_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 15] = [
        (&["run", "etdc"], "raft, etcd"),
        (&["run", "--workload", "regsiter"], "register, set"),
        (&["run", "--nemesis", "kill,flood"], "kill[:REGEX], pause, partition"),
        (&["run", "etcd", "--nemesis", "message"], "does not tell how its nodes put messages"),
        (&["run", "--nemesis", "power", "--disk", "careful"], "a disk is `ordered` or `strict`"),
        (&["run", "--nemesis", "kill", "--disk", "strict"], "only faults of disks use it"),
        (&["run", "--nemesis", "bit-flip:a(b"], "must be a regular expression"),
        (&["run", "--net", "wires"], "links and switch"),
        (&["run", "--nemesis", "packet"], "add --net switch"),
        (&["run", "--nemesis", "reset", "--net", "switch"], "use --net links"),
        (&["run", "--read-consistency", "eventual"], "linearizable and local"),
        (&["run", "--expect", "lost"], "violation:KIND"),
        (&["run", "--nodes", "0"], "between 1 and"),
        (&["run", "--concurrency", "2m"], "2n"),
        (&["run", "--time-limit", "soon"], "20s"),
    ];
    for (arguments, hint) in cases {
        let output = shakedown(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(stderr(&output).contains(hint), "{arguments:?}: {}", said(&output));
    }
    assert!(!dir.path().join("store").exists(), "nothing is stored for a run that was never planned");
}

#[test]
fn binary_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = shakedown(dir.path(), &["run", "etcd", "--binary", "/no/such/etcd"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(stderr(&output).contains("/no/such/etcd"), "{}", said(&output));
}

#[test]
fn server_that_dies_at_start_is_infrastructure_with_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = script(&dir.path().join("server"), "#!/bin/sh\necho 'no licence file' >&2\nexit 3\n");
    let output = shakedown(
        dir.path(),
        &["run", "--nodes", "3", "--time-limit", "2s", "--binary", server.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let all = said(&output);
    for word in ["n1", "exit status 3", "no licence file", "stderr.log"] {
        assert!(all.contains(word), "{word:?} is missing: {all}");
    }
}

#[test]
fn node_on_a_port_in_use_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let output = shakedown(
        dir.path(),
        &[
            "node",
            "--id",
            "n1",
            "--data",
            data.to_str().unwrap(),
            "--client",
            &address,
            "--peer",
            "127.0.0.1:0",
            "--cluster",
            "n1=127.0.0.1:1",
        ],
    );
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(stderr(&output).contains(&address) && stderr(&output).contains("in use"), "{}", said(&output));
}

const HISTORY: &str = r#"{"shakedown_history":1,"claim":"linearizable","workload":"register","clock":"CLOCK_MONOTONIC"}
{"index":0,"time":10,"type":"invoke","process":0,"node":"n1","f":"write","key":"k1","value":7}
{"index":1,"time":20,"type":"ok","process":0,"node":"n1","f":"write","key":"k1"}
{"index":2,"time":30,"type":"invoke","process":1,"node":"n2","f":"read","key":"k1"}
{"index":3,"time":40,"type":"ok","process":1,"node":"n2","f":"read","key":"k1"}
"#;

#[test]
fn stale_read_in_a_lone_history_is_a_violation() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.jsonl"), HISTORY).unwrap();
    let output = shakedown(dir.path(), &["check", "h.jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn history_torn_at_any_byte_is_judged_on_its_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("torn.jsonl");
    let whole = HISTORY.trim_end().len();
    for end in 0..=HISTORY.len() {
        std::fs::write(&path, &HISTORY[..end]).unwrap();
        let output = shakedown(dir.path(), &["check", "torn.jsonl", "--workload", "register"]);
        // The violation is in the last line; without it one write is `ok`; before that nothing is.
        let lines = HISTORY[..end].matches('\n').count() + usize::from(end == whole);
        let expected = match lines {
            5.. => 1,
            3.. => 0,
            _ => 3,
        };
        let complete = end == 0 || HISTORY[..end].ends_with('\n') || HISTORY[end..].starts_with('\n');
        // A line that is whole but for its line feed counts.
        let expected = if complete && HISTORY[end..].starts_with('\n') && lines == 2 { 0 } else { expected };
        assert_eq!(output.status.code(), Some(expected), "torn at byte {end}: {}", said(&output));
        assert_eq!(
            !complete,
            stderr(&output).contains("judged on the whole lines"),
            "at {end}: {}",
            said(&output)
        );
    }
}

#[test]
fn compressed_history_torn_at_any_byte_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(HISTORY.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let path = dir.path().join("torn.jsonl.gz");
    for end in (0..bytes.len()).rev() {
        std::fs::write(&path, &bytes[..end]).unwrap();
        let output = shakedown(dir.path(), &["check", "torn.jsonl.gz", "--workload", "register"]);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "torn at byte {end}: {}", said(&output));
        assert!(end == 0 || stderr(&output).contains("judged on the whole lines"), "{}", said(&output));
    }
}

#[test]
fn hand_edited_history_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (HISTORY.replace(r#""type":"ok","process":0"#, r#""type":"okay","process":0"#), 3, "okay"),
        (
            HISTORY.replace(r#""process":1,"node":"n2","f":"read","key":"k1"}"#, "oops"),
            4,
            "key must be a string",
        ),
        (HISTORY.replace(r#""type":"ok","process":0"#, r#""type":"ok","process":5"#), 3, "never invoked"),
        (HISTORY.replace(r#""time":20"#, r#""time":2"#), 3, "invoked later"),
        (HISTORY.replace(r#""index":3"#, r#""index":1"#), 5, "must grow"),
        (HISTORY.replace(r#""index":2"#, r#""colour":1,"index":2"#), 4, "colour"),
    ];
    for (text, line, word) in cases {
        std::fs::write(dir.path().join("edited.jsonl"), text).unwrap();
        let output = shakedown(dir.path(), &["check", "edited.jsonl"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let place = format!("edited.jsonl:{line}:");
        assert!(
            stderr(&output).contains(&place) && stderr(&output).contains(word),
            "{word}: {}",
            said(&output)
        );
    }
}

#[test]
fn history_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("new.jsonl"), HISTORY.replace("_history\":1", "_history\":99")).unwrap();
    let output = shakedown(dir.path(), &["check", "new.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(stderr(&output).contains("newer"), "{}", said(&output));
}

#[test]
fn adapter_that_records_nonsense_is_named_by_operation() {
    let dir = tempfile::tempdir().unwrap();
    let text = HISTORY.replace(r#""f":"write""#, r#""f":"frobnicate""#);
    std::fs::write(dir.path().join("odd.jsonl"), text).unwrap();
    let output = shakedown(dir.path(), &["check", "odd.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        stderr(&output).contains("operation 0") && stderr(&output).contains("frobnicate"),
        "{}",
        said(&output)
    );
}

#[test]
fn directory_that_is_no_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["check", "report", "rerun"] {
        let output = shakedown(dir.path(), &[command, dir.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{command}: {}", said(&output));
        assert!(stderr(&output).contains("run.json"), "{command}: {}", said(&output));
    }
}

#[test]
fn full_disk_ends_the_run_and_keeps_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    // A limit of the file size stands in for a full disk: it needs no privileges and hits the history first.
    let command = format!(
        "trap '' XFSZ; ulimit -f 3000; exec {SHAKEDOWN} run --nodes 1 --nemesis none --time-limit 20s --rate 4000"
    );
    let output =
        std::process::Command::new("bash").args(["-c", &command]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("cannot record to"), "{}", said(&output));
    assert!(said(&output).contains("--out"), "{}", said(&output));
    let run = std::fs::read_dir(dir.path().join("store")).unwrap().next().unwrap().unwrap().path();
    let paths = history::RunPaths::new(run);
    let (history, _torn) = history::read_history(&paths.history()).unwrap();
    assert!(history.operations.len() > 100);
}
