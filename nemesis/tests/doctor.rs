//! The doctor on the machine that runs the tests, which can run everything that this version has.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::guardian_command;
use common::within;
use nemesis::doctor::examine;

#[tokio::test]
async fn what_faults_stand_on_works_here() {
    let probes = within(examine(guardian_command)).await;
    for needed in ["guardian", "pause", "parent-death signal", "clock", "loopback", "sock_diag"] {
        let probe = probes.iter().find(|probe| probe.mechanism == needed).unwrap();
        assert!(probe.available, "{probe:?}");
    }
}

#[tokio::test]
async fn guardian_that_is_none_is_told_with_the_reason() {
    let probes = within(examine(|| std::process::Command::new("/bin/true"))).await;
    let guardian = probes.iter().find(|probe| probe.mechanism == "guardian").unwrap();
    assert!(!guardian.available && guardian.detail.contains("guardian is gone"), "{guardian:?}");
    assert!(!guardian.remedy.is_empty());
}
