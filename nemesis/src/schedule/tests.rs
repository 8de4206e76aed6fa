//! What schedules promise.

use super::*;
use std::fmt::Write;

const THREE: [Kind; 3] = [Kind::Kill, Kind::Pause, Kind::Partition];
const LOAD: Duration = Duration::from_secs(20);

fn plan(kinds: &[Kind], seed: u64, limit: Duration, unit: Duration, nodes: usize) -> Vec<ScheduledFault> {
    let nemeses: Vec<Nemesis> = kinds.iter().copied().map(Nemesis::from).collect();
    super::plan(&nemeses, &setting(seed, limit, unit, nodes))
}

fn setting(seed: u64, time_limit: Duration, unit: Duration, nodes: usize) -> Setting {
    let rhythm = Rhythm::default();
    Setting { seed, time_limit, unit, nodes, rhythm, scripts: Scripts::default() }
}

fn units() -> [Duration; 3] {
    [100, 300, 1000].map(Duration::from_millis)
}

fn count(faults: &[ScheduledFault], kind: Kind) -> usize {
    faults.iter().filter(|fault| fault.kind == kind.name()).count()
}

#[test]
fn every_kind_occurs_twice_in_twenty_seconds() {
    for unit in units() {
        for seed in 0..300 {
            let faults = plan(&THREE, seed, LOAD, unit, 3);
            assert!(THREE.iter().all(|kind| count(&faults, *kind) >= 2), "seed {seed}, unit {unit:?}");
        }
    }
}

#[test]
fn fast_system_sees_a_fault_every_other_second() {
    let total: usize =
        (0..300).map(|seed| plan(&THREE, seed, LOAD, Duration::from_millis(300), 3).len()).sum();
    let mean = total as f64 / 300.0;
    assert!((8.0..20.0).contains(&mean), "{mean} faults in 20 s");
}

#[test]
fn beginning_and_end_are_quiet() {
    for unit in units() {
        for seed in 0..300 {
            let faults = plan(&Kind::ALL, seed, LOAD, unit, 5);
            assert!(faults.iter().all(|fault| fault.at >= Nanos::from(QUIET_HEAD)));
            let latest = Nanos::from(LOAD - QUIET_TAIL);
            assert!(faults.iter().all(|fault| fault.at + fault.duration <= latest), "seed {seed}");
        }
    }
}

#[test]
fn every_round_has_a_lag_and_a_tail() {
    let faults = plan(&THREE, 3, Duration::from_secs(600), Duration::from_millis(300), 5);
    let successors = faults.iter().filter(|fault| fault.selector == "working-leader").count();
    let rounds = count(&faults, Kind::Pause) / 2;
    assert!(
        successors >= 4 * (rounds - 1) && rounds > 20,
        "{successors} compositions in about {rounds} rounds"
    );
    for (i, kill) in faults.iter().enumerate().filter(|(_, fault)| fault.selector == "working-leader") {
        let stands = |other: &&ScheduledFault| other.at <= kill.at && kill.at <= other.at + other.duration;
        assert!(faults[..i].iter().rev().take(2).any(|other| stands(&other)), "{kill:?} stands alone");
    }
}

#[test]
fn kinds_that_do_not_kill_overlap_too() {
    let faults =
        plan(&[Kind::Pause, Kind::Latency], 3, Duration::from_secs(600), Duration::from_millis(300), 3);
    let overlaps = faults.windows(2).filter(|pair| pair[1].at < pair[0].at + pair[0].duration).count();
    assert!(overlaps * 6 > faults.len(), "{overlaps} of {} faults", faults.len());
}

#[test]
fn small_clusters_get_only_what_they_can_bear() {
    assert_eq!(plan(&[Kind::Latency], 1, LOAD, LOAD / 20, 1), []);
    for fault in plan(&Kind::ALL, 1, LOAD * 10, LOAD / 100, 2) {
        assert!(
            !["minority", "bridge", "majorities-ring", "leader-minority"].contains(&fault.selector.as_str())
        );
    }
    assert!(plan(&[], 1, LOAD, LOAD / 20, 3).is_empty());
}

fn plan_with(rhythm: Rhythm, seed: u64) -> Vec<ScheduledFault> {
    let kinds = Kind::ALL.into_iter().filter(|kind| !kind.takes_argument());
    let nemeses: Vec<Nemesis> = kinds.map(Nemesis::from).collect();
    let setting = setting(seed, Duration::from_secs(120), Duration::from_millis(200), 5);
    super::plan(&nemeses, &Setting { rhythm, ..setting })
}

#[test]
fn steps_begin_at_the_intervals_that_are_asked_for() {
    let interval = "fixed:3s".parse().ok();
    let faults = plan_with(Rhythm { interval, ..Rhythm::default() }, 1);
    let begins = |at: u64| faults.iter().any(|fault| fault.at == Nanos::from_millis(1000 + at * 3000));
    assert!((0..30).all(begins), "{faults:#?}");
    let interval = "exp:500ms".parse().ok();
    let often = plan_with(Rhythm { interval, ..Rhythm::default() }, 1);
    let overlaps = often.windows(2).filter(|pair| pair[1].at < pair[0].at + pair[0].duration).count();
    assert!(overlaps * 2 > often.len() && often.len() > 150, "{overlaps} of {}", often.len());
}

#[test]
fn nothing_stands_in_quiet_times() {
    for (text, interval) in [("2s/10s", None), ("1s/1500ms", None), ("2s/10s", "exp:1s".parse().ok())] {
        let quiet: Quiet = text.parse().unwrap();
        let (active, period) = (quiet.period - quiet.quiet, Nanos::from(quiet.period));
        for seed in 0..100 {
            let faults = plan_with(Rhythm { interval, quiet: Some(quiet), ..Rhythm::default() }, seed);
            assert!(faults.len() > 30, "{} faults", faults.len());
            for fault in faults {
                let begin = (fault.at - Nanos::from(QUIET_HEAD)).0 % period.0;
                // Times are cut off to whole milliseconds.
                let end = Nanos(begin) + fault.duration;
                assert!(end <= Nanos::from(active + Duration::from_millis(1)), "{text} {fault:?}");
            }
        }
    }
}

#[test]
fn majority_is_spared_or_taken_as_asked() {
    let with = |quorum| plan_with(Rhythm { quorum, ..Rhythm::default() }, 3);
    let takes = |fault: &&ScheduledFault| {
        let kind = fault.kind.parse::<Nemesis>().unwrap().kind();
        5 - gone(kind, &fault.selector, 5) < 3
    };
    assert_eq!(with(Quorum::Never).iter().filter(takes).count(), 0);
    let (any, broken) = (with(Quorum::AtMost), with(Quorum::Break));
    let part = |faults: &[ScheduledFault]| faults.iter().filter(takes).count() as f64 / faults.len() as f64;
    assert!((0.01..0.3).contains(&part(&any)), "{}", part(&any));
    assert!(part(&broken) > 0.2, "{}", part(&broken));
    let pauses = |faults: &[ScheduledFault]| {
        faults.iter().filter(|f| f.kind == "pause" && f.selector == "majority").count()
    };
    assert!(pauses(&broken) > 0 && pauses(&any) == 0);
    assert!(
        with(Quorum::Never).iter().any(|fault| fault.selector == "strand-leader"),
        "five nodes bear that"
    );
}

#[test]
fn scenario_that_may_take_the_majority_is_not_planned_when_that_is_forbidden() {
    let nemeses =
        ["scenario:raft-figure-8", "scenario:disruptive-server"].map(|name| name.parse::<Nemesis>().unwrap());
    let scripts = Scripts::load(&nemeses).unwrap();
    let setting = Setting { scripts, ..setting(1, LOAD * 3, Duration::from_millis(200), 5) };
    let planned = |quorum, nodes| -> std::collections::BTreeSet<String> {
        let rhythm = Rhythm { quorum, ..Rhythm::default() };
        let setting = Setting { rhythm, nodes, ..setting.clone() };
        super::plan(&nemeses, &setting).into_iter().map(|fault| fault.kind).collect()
    };
    let both: std::collections::BTreeSet<String> = nemeses.iter().map(ToString::to_string).collect();
    let harmless = both.iter().filter(|name| name.ends_with("server")).cloned().collect();
    assert_eq!(planned(Quorum::AtMost, 5), both);
    assert_eq!(planned(Quorum::Never, 7), harmless);
    assert_eq!(planned(Quorum::AtMost, 3), harmless, "figure 8 needs five nodes");
}

#[test]
fn order_of_the_kinds_means_nothing() {
    let unit = Duration::from_millis(300);
    let reversed: Vec<Kind> = Kind::ALL.into_iter().rev().collect();
    assert_eq!(plan(&Kind::ALL, 5, LOAD, unit, 3), plan(&reversed, 5, LOAD, unit, 3));
}

#[test]
fn schedule_of_a_seed_never_changes() {
    let mut text = String::new();
    for fault in plan(&THREE, 1, LOAD / 2, Duration::from_millis(300), 3) {
        let (at, duration) = (fault.at.0 / 1_000_000, fault.duration.0 / 1_000_000);
        writeln!(text, "{at} +{duration} {} {} {:016x}", fault.kind, fault.selector, fault.seed).unwrap();
    }
    assert_eq!(text, SCHEDULE_OF_SEED_1);
}

const SCHEDULE_OF_SEED_1: &str = "\
1000 +482 pause leader 8d1c0325164845f7
1706 +627 partition follower-minority dbf0ac0e46b578a4
2057 +286 kill working-leader 63556bec3ee5f100
2487 +833 partition bridge 13caf658b1559d99
3594 +977 pause minority 7be86792950e0b94
4480 +675 kill working-leader db967f9ec7f7a655
5446 +1342 partition leader-minority b73f6af3e728d31a
5582 +1356 kill working-leader b66c320fe84b4141
7066 +395 kill one 15d0a240c84087ae
7726 +773 partition strand-leader 11127aa666ff6254
7884 +343 kill working-leader 812eeb3e05f3c08c
";
