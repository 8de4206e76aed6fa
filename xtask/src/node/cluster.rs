//! A cluster of three processes, which end with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, iter};

use anyhow::{Context, bail, ensure};

use super::SERVER;
use super::servers::{Place, Program, Status};

/// How long a cluster may take until it is settled.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// Running nodes.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: Program,
    places: Vec<Place>,
    processes: Vec<Child>,
    directory: PathBuf,
}

impl Cluster {
    /// A cluster that is not started, with empty data directories.
    pub(crate) fn prepare(program: &Program, work: &Path) -> anyhow::Result<Self> {
        let directory = work.join(program.system.name());
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let places = program.places(&directory);
        Ok(Self { program: program.clone(), places, processes: Vec::new(), directory })
    }

    /// Starts all nodes.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        for place in &self.places {
            self.processes.push(self.spawn(place)?);
        }
        Ok(())
    }

    fn spawn(&self, place: &Place) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log_of(place))?;
        Command::new(env::current_exe()?)
            .arg(SERVER)
            .arg(&self.program.path)
            .args(self.program.arguments(place, &self.places))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", place.name))
    }

    fn log_of(&self, place: &Place) -> PathBuf {
        self.directory.join(format!("{}.log", place.name))
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Waits until all nodes are up, agree on one leader, and have applied the same; says which one leads.
    pub(crate) fn settle(&mut self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            self.ensure_running()?;
            if let Some(leader) = self.statuses().as_deref().and_then(settled) {
                return Ok(leader);
            }
            if Instant::now() > deadline {
                bail!("{} does not settle", self.program.system.name());
            }
            sleep(SETTLE_PAUSE);
        }
    }

    /// How many entries all nodes have applied, once they have applied the same.
    pub(crate) fn applied(&mut self) -> anyhow::Result<u64> {
        let leader = self.settle()?;
        Ok(self.program.system.status(self.places[leader].client)?.applied)
    }

    /// What all nodes say, if all of them answer.
    fn statuses(&self) -> Option<Vec<Status>> {
        let status = |place: &Place| self.program.system.status(place.client).ok();
        self.places.iter().map(status).collect()
    }

    /// A node that has ended by itself is an error, with the end of what it said.
    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        for (process, place) in iter::zip(&mut self.processes, &self.places) {
            if let Some(status) = process.try_wait()? {
                let log = fs::read_to_string(self.directory.join(format!("{}.log", place.name)))?;
                bail!("{} ended with {status}: {}", place.name, log.lines().last().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Starts a node again that was killed.
    pub(crate) fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        let status = self.processes[node].wait()?;
        ensure!(!status.success(), "the node was killed, but ended with success");
        self.processes[node] = self.spawn(&self.places[node])?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
        // What cannot be removed is found by the next cluster, which then fails.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The leader, if exactly one node leads, all others follow, and all have applied the same.
fn settled(statuses: &[Status]) -> Option<usize> {
    let leader = statuses.iter().position(|status| status.leads)?;
    let alone = statuses.iter().filter(|status| status.leads).count() == 1;
    let alike = |status: &Status| status.follows_somebody && status.applied == statuses[leader].applied;
    (alone && statuses.iter().all(alike)).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_is_who_agrees() {
        let follower = Status { leads: false, follows_somebody: true, applied: 7 };
        let leader = Status { leads: true, ..follower.clone() };
        let late = Status { applied: 6, ..follower.clone() };
        let lonely = Status { follows_somebody: false, ..follower.clone() };
        assert_eq!(settled(&[follower.clone(), leader.clone(), follower.clone()]), Some(1));
        assert_eq!(settled(&[follower.clone(), follower.clone()]), None);
        assert_eq!(settled(&[leader.clone(), leader.clone(), follower.clone()]), None);
        assert_eq!(settled(&[leader.clone(), late]), None);
        assert_eq!(settled(&[leader, lonely]), None);
    }
}
