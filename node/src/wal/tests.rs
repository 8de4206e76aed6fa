//! The log against crashes, damage and strangers.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::raft::{Entry, HardState, Index, LogPosition, Membership, Payload, Snapshot, Term};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

fn entry(index: u64, term: u64, size: usize) -> Entry {
    let payload = Payload::Command(vec![index as u8; size].into());
    Entry { index: Index(index), term: Term(term), payload }
}

fn write(hard_state: Option<HardState>, truncate_from: Option<u64>, entries: Vec<Entry>) -> Persist {
    Persist { hard_state, truncate_from: truncate_from.map(Index), entries, ..Persist::default() }
}

fn voted(term: u64) -> Option<HardState> {
    Some(HardState { term: Term(term), vote: Some(node("n2")) })
}

fn folder(directory: &Path) -> Folder<RealDisk> {
    Folder::new(RealDisk, directory)
}

fn open(directory: &Path) -> Result<(Wal, Recovered), WalError> {
    Wal::open(folder(directory), WalConfig::new(node("n1")))
}

fn recover(directory: &Path) -> Recovered {
    open(directory).expect("a log that can be opened").1
}

fn first_segment(directory: &Path) -> PathBuf {
    directory.join("0000000001.wal")
}

/// A log with three batches; returns the offsets at which they end.
fn three_batches(directory: &Path) -> [u64; 3] {
    let (mut wal, _) = open(directory).expect("a new log");
    let batches = [
        write(voted(1), None, vec![entry(1, 1, 10), entry(2, 1, 0)]),
        write(None, None, vec![entry(3, 1, 30)]),
        write(voted(2), Some(3), vec![entry(3, 2, 20), entry(4, 2, 5)]),
    ];
    batches.map(|batch| {
        wal.append(&[batch]).expect("a working disk");
        wal.offset
    })
}

#[test]
fn new_directory_has_nothing_to_recover() {
    let directory = TempDir::new().expect("a directory");
    assert_eq!(recover(&directory.path().join("deep/er")), Recovered::default());
}

#[test]
fn hard_state_entries_and_truncation_survive_a_restart() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    let recovered = recover(directory.path());
    assert_eq!(recovered.hard_state, voted(2).expect("a vote"));
    assert_eq!(recovered.entries, [entry(1, 1, 10), entry(2, 1, 0), entry(3, 2, 20), entry(4, 2, 5)]);
}

#[test]
fn appending_goes_on_after_a_restart() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    let (mut wal, _) = open(directory.path()).expect("a log");
    wal.append(&[write(voted(3), None, vec![]), write(None, None, vec![entry(5, 3, 7)])])
        .expect("a working disk");
    drop(wal);
    let recovered = recover(directory.path());
    assert_eq!((recovered.hard_state, recovered.entries.len()), (voted(3).expect("a vote"), 5));
}

#[test]
fn last_batch_torn_at_any_byte_leaves_the_state_before_it() {
    let directory = TempDir::new().expect("a directory");
    let [_, start, end] = three_batches(directory.path());
    let path = first_segment(directory.path());
    let whole = fs::read(&path).expect("a segment");
    for torn in start..end {
        let mut bytes = whole.clone();
        bytes[torn as usize..].fill(0);
        // A last byte that is zero anyway is no damage.
        let intact = bytes == whole;
        fs::write(&path, &bytes).expect("a writable segment");
        let recovered = recover(directory.path());
        let expected = if intact { 4 } else { 3 };
        assert_eq!(recovered.entries.len(), expected, "torn at {torn}");
        assert_eq!(recovered.hard_state.term, if intact { Term(2) } else { Term(1) }, "torn at {torn}");
    }
}

#[test]
fn last_batch_of_which_any_part_is_missing_is_cut_off() {
    let directory = TempDir::new().expect("a directory");
    let [_, start, end] = three_batches(directory.path());
    let path = first_segment(directory.path());
    let whole = fs::read(&path).expect("a segment");
    for missing in (start..end).step_by(8) {
        let mut bytes = whole.clone();
        bytes[missing as usize..missing as usize + 8].fill(0);
        if bytes != whole {
            fs::write(&path, &bytes).expect("a writable segment");
            assert_eq!(recover(directory.path()).entries.len(), 3, "missing at {missing}");
            let wiped = fs::read(&path).expect("a segment");
            assert!(wiped[start as usize..].iter().all(|&byte| byte == 0), "remains at {missing}");
        }
    }
}

#[test]
fn remains_of_a_torn_batch_never_come_back() {
    let directory = TempDir::new().expect("a directory");
    let [_, start, end] = three_batches(directory.path());
    let path = first_segment(directory.path());
    let mut bytes = fs::read(&path).expect("a segment");
    bytes[end as usize - 9] ^= 1;
    fs::write(&path, &bytes).expect("a writable segment");

    let (mut wal, recovered) = open(directory.path()).expect("a torn tail is no reason to refuse");
    assert_eq!((wal.offset, recovered.entries.len()), (start, 3));
    wal.append(&[write(None, None, vec![entry(4, 1, 1)])]).expect("a working disk");
    drop(wal);
    assert_eq!(recover(directory.path()).entries.last(), Some(&entry(4, 1, 1)));
}

#[test]
fn flipped_bit_in_any_byte_before_the_last_batch_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let [_, last_start, _] = three_batches(directory.path());
    let path = first_segment(directory.path());
    let whole = fs::read(&path).expect("a segment");
    for byte in segment::HEADER_BYTES..last_start {
        let bit = byte * 8 + byte % 8;
        let mut bytes = whole.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).expect("a writable segment");
        match open(directory.path()) {
            Err(WalError::Corrupt { path: named, offset, .. }) => {
                assert_eq!(named, path);
                assert!(offset <= byte, "damage at byte {byte} reported at {offset}");
            }
            other => panic!("byte {byte}: {other:?}"),
        }
    }
}

#[test]
fn damaged_file_header_is_refused() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    let path = first_segment(directory.path());
    let whole = fs::read(&path).expect("a segment");
    for byte in 0..40 {
        let mut bytes = whole.clone();
        bytes[byte] ^= 0x10;
        fs::write(&path, &bytes).expect("a writable segment");
        assert!(matches!(open(directory.path()), Err(WalError::Corrupt { offset: 0, .. })), "byte {byte}");
    }
}

#[test]
fn directory_of_another_node_is_refused() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    match Wal::open(folder(directory.path()), WalConfig::new(node("n9"))) {
        Err(WalError::Foreign { found, expected, .. }) => {
            assert_eq!((found.as_str(), expected.as_str()), ("n1", "n9"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn second_process_on_a_directory_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let first = open(directory.path()).expect("a new log");
    assert!(matches!(open(directory.path()), Err(WalError::Locked { .. })));
    drop(first);
    assert!(open(directory.path()).is_ok());
}

#[test]
fn log_goes_on_in_further_segments() {
    let directory = TempDir::new().expect("a directory");
    let (mut wal, _) = open(directory.path()).expect("a new log");
    for index in 1..=30 {
        wal.append(&[write(voted(1), None, vec![entry(index, 1, 100_000)])]).expect("a working disk");
    }
    assert!(wal.segment.sequence() > 1, "the test must fill a segment");
    drop(wal);
    let recovered = recover(directory.path());
    assert_eq!(recovered.entries, (1..=30).map(|index| entry(index, 1, 100_000)).collect::<Vec<_>>());
}

#[test]
fn batch_bigger_than_a_segment_gets_a_bigger_segment() {
    let directory = TempDir::new().expect("a directory");
    let (mut wal, _) = open(directory.path()).expect("a new log");
    let huge = entry(1, 1, 2 * SegmentSizes::default().most_bytes as usize);
    wal.append(&[write(voted(1), None, vec![huge.clone()])]).expect("a working disk");
    wal.append(&[write(None, None, vec![entry(2, 1, 1)])]).expect("a working disk");
    drop(wal);
    assert_eq!(recover(directory.path()).entries, [huge, entry(2, 1, 1)]);
}

#[test]
fn damage_in_an_earlier_segment_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let (mut wal, _) = open(directory.path()).expect("a new log");
    for index in 1..=11 {
        wal.append(&[write(voted(1), None, vec![entry(index, 1, 100_000)])]).expect("a working disk");
    }
    assert_eq!(wal.segment.sequence(), 2);
    drop(wal);
    let path = first_segment(directory.path());
    let mut bytes = fs::read(&path).expect("a segment");
    // The last batch of the first segment, which a later segment follows.
    bytes[950_000] ^= 1;
    fs::write(&path, &bytes).expect("a writable segment");
    assert!(matches!(open(directory.path()), Err(WalError::Corrupt { .. })));
}

#[test]
fn missing_segment_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let (mut wal, _) = open(directory.path()).expect("a new log");
    for index in 1..=11 {
        wal.append(&[write(voted(1), None, vec![entry(index, 1, 100_000)])]).expect("a working disk");
    }
    drop(wal);
    fs::remove_file(first_segment(directory.path())).expect("a removable file");
    assert!(matches!(open(directory.path()), Err(WalError::Corrupt { .. })));
}

#[test]
fn interrupted_creation_of_a_segment_is_forgotten() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    fs::write(directory.path().join("0000000002.wal.tmp"), b"half a segment").expect("a writable directory");
    assert_eq!(recover(directory.path()).entries.len(), 4);
    assert!(!directory.path().join("0000000002.wal.tmp").exists());
}

fn snapshot(index: u64, term: u64) -> Snapshot {
    let last = LogPosition { term: Term(term), index: Index(index) };
    Snapshot { last, members: Membership::of_voters([node("n1")]), state: "state".into() }
}

/// A log of 40 entries of 100 kB in several segments, and a snapshot up to entry 30, of which storage has been told.
fn compacted(directory: &Path) -> Snapshot {
    let (mut wal, _) = open(directory).expect("a new log");
    wal.append(&[write(voted(3), None, vec![])]).expect("a working disk");
    for index in 1..=40 {
        wal.append(&[write(None, None, vec![entry(index, 1, 100_000)])]).expect("a working disk");
    }
    let snapshot = snapshot(30, 1);
    snapshot::save(&folder(directory), WalConfig::new(node("n1")), &snapshot).expect("a working disk");
    wal.append(&[Persist { compact_to: Some(Index(30)), ..Persist::default() }]).expect("a working disk");
    snapshot
}

#[test]
fn snapshot_stands_for_segments_that_are_gone() {
    let directory = TempDir::new().expect("a directory");
    let snapshot = compacted(directory.path());
    assert!(!first_segment(directory.path()).exists(), "nothing was removed");
    let recovered = recover(directory.path());
    assert_eq!(recovered.snapshot, Some(snapshot));
    assert_eq!(recovered.entries, (31..=40).map(|index| entry(index, 1, 100_000)).collect::<Vec<_>>());
    assert_eq!(Some(recovered.hard_state), voted(3), "the vote was in the first segment");
}

#[test]
fn missing_snapshot_is_refused_when_segments_are_gone() {
    let directory = TempDir::new().expect("a directory");
    compacted(directory.path());
    fs::remove_file(directory.path().join(format!("{:020}.snapshot", 30))).expect("a snapshot");
    assert!(matches!(open(directory.path()), Err(WalError::Corrupt { .. })));
}

#[test]
fn snapshot_that_was_installed_replaces_a_log_that_ends_before_it() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    snapshot::save(&folder(directory.path()), WalConfig::new(node("n1")), &snapshot(100, 5))
        .expect("a working disk");
    let (mut wal, recovered) = open(directory.path()).expect("a log");
    assert_eq!((recovered.entries.len(), recovered.base().index), (0, Index(100)));
    assert_eq!(recovered.hard_state, HardState { term: Term(5), vote: None }, "a term that was seen");
    wal.append(&[write(voted(5), None, vec![entry(101, 5, 3)])]).expect("a working disk");
    drop(wal);
    assert_eq!(recover(directory.path()).entries, [entry(101, 5, 3)]);
}

#[test]
fn entries_after_a_snapshot_of_another_log_are_dropped_for_good() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    // Entry 2 has term 1 here, and entries 3 and 4 follow it.
    snapshot::save(&folder(directory.path()), WalConfig::new(node("n1")), &snapshot(2, 2))
        .expect("a working disk");
    let (mut wal, recovered) = open(directory.path()).expect("a log");
    assert_eq!(recovered.entries, []);
    wal.append(&[write(None, None, vec![entry(3, 2, 7)])]).expect("a working disk");
    drop(wal);
    assert_eq!(recover(directory.path()).entries, [entry(3, 2, 7)]);
}

#[test]
fn only_the_newest_snapshot_stays_and_an_unfinished_one_is_forgotten() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    for index in [1, 2] {
        snapshot::save(&folder(directory.path()), WalConfig::new(node("n1")), &snapshot(index, 1))
            .expect("a working disk");
    }
    fs::write(directory.path().join("9.snapshot.tmp"), "half").expect("a writable directory");
    assert_eq!(recover(directory.path()).snapshot, Some(snapshot(2, 1)));
    let names = fs::read_dir(directory.path()).expect("a directory");
    let snapshots = names.filter(|name| {
        let name = name.as_ref().expect("an entry").file_name();
        name.to_string_lossy().contains("snapshot")
    });
    assert_eq!(snapshots.count(), 1);
}

#[test]
fn damaged_snapshot_is_refused() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    snapshot::save(&folder(directory.path()), WalConfig::new(node("n1")), &snapshot(2, 1))
        .expect("a working disk");
    let path = directory.path().join(format!("{:020}.snapshot", 2));
    let whole = fs::read(&path).expect("a snapshot");
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        fs::write(&path, &bytes).expect("a writable file");
        assert!(open(directory.path()).is_err(), "byte {position}");
    }
    fs::write(&path, &whole[..10]).expect("a writable file");
    assert!(open(directory.path()).is_err());
}

#[test]
fn vote_outlives_the_segments_before_one_that_a_killed_process_left_empty() {
    let directory = TempDir::new().expect("a directory");
    let (mut wal, _) = open(directory.path()).expect("a new log");
    wal.append(&[write(voted(3), None, vec![entry(1, 1, 10)])]).expect("a working disk");
    drop(wal);
    let folder = folder(directory.path());
    let empty = Segment::create(&folder, node("n1"), 2, 1 << 20, 1 << 18).expect("a working disk");
    empty.publish(&folder).expect("a working disk");

    let (mut wal, _) = open(directory.path()).expect("a log with an empty segment");
    wal.append(&[write(None, None, vec![entry(2, 1, 10)])]).expect("a working disk");
    snapshot::save(&folder, WalConfig::new(node("n1")), &snapshot(1, 1)).expect("a working disk");
    wal.append(&[Persist { compact_to: Some(Index(1)), ..Persist::default() }]).expect("a working disk");
    drop(wal);
    assert!(!first_segment(directory.path()).exists(), "nothing was removed");
    assert_eq!(Some(recover(directory.path()).hard_state), voted(3));
}

#[test]
fn entries_of_a_term_that_only_a_snapshot_has_named_are_found_again() {
    let directory = TempDir::new().expect("a directory");
    three_batches(directory.path());
    let config = WalConfig::new(node("n1"));
    snapshot::save(&folder(directory.path()), config, &snapshot(100, 5)).expect("a working disk");
    let (mut wal, _) = open(directory.path()).expect("a log");
    wal.append(&[write(None, None, vec![entry(101, 5, 3)])]).expect("a working disk");
    drop(wal);
    assert_eq!(recover(directory.path()).entries, [entry(101, 5, 3)]);
}
