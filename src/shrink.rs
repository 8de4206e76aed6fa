//! Makes the plan of a violation smaller, as long as it still violates: less time, fewer faults, keys and clients.
//!
//! Each change is tried on its own and kept when the violation still appears; then everything is tried again, until
//! nothing more can be left out or the trials are over. Faults are left out in chunks that are halved (delta debugging,
//! Zeller and Hildebrandt 2002, by complements alone: a failure may need several faults together). A violation that
//! appears by chance makes a change look possible or impossible by chance, so what counts as appearing is up to whoever
//! performs the trials.

use std::time::Duration;

use history::Nanos;

use crate::plan::Plan;

/// The load goes on for this long after the operations that prove the anomaly.
const MARGIN_MS: u64 = 500;
/// No load is tried that is shorter.
const SHORTEST_MS: u64 = 500;
/// What is tried of the time when the anomaly does not say how much is needed.
const SHORTER: (u64, u64) = (3, 4);

/// What a trial saw of the violation.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Seen {
    /// When the operations that prove it were over, since the start of the load.
    pub(crate) after: Option<Duration>,
    /// The key that they are about.
    pub(crate) key: Option<String>,
}

/// What came of trying a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trial {
    /// It violates.
    Violates(Seen),
    /// It does not, or not often enough.
    Holds,
    /// No more trials.
    Over,
}

/// How large a plan is, in words.
pub(crate) fn size(plan: &Plan) -> String {
    let keys = match plan.keys.len() {
        0 => "all keys".to_owned(),
        count => format!("{count} keys"),
    };
    let seconds = plan.time_limit().as_secs_f64();
    format!("{} faults, {seconds} s, {} clients, {keys}", plan.schedule.len(), plan.concurrency)
}

/// The smallest plan that was found, given one that violates and what was seen of that.
pub(crate) fn shrink(
    plan: Plan,
    seen: Seen,
    trial: impl FnMut(&Plan) -> anyhow::Result<Trial>,
) -> anyhow::Result<Plan> {
    let mut search = Search { plan, seen, trial, over: false };
    loop {
        let before = search.plan.clone();
        search.time()?;
        search.faults()?;
        search.keys()?;
        search.clients()?;
        if search.over || search.plan == before {
            return Ok(search.plan);
        }
    }
}

struct Search<T> {
    plan: Plan,
    seen: Seen,
    trial: T,
    over: bool,
}

impl<T: FnMut(&Plan) -> anyhow::Result<Trial>> Search<T> {
    /// Tries a plan, and goes on with it when it violates.
    fn accepts(&mut self, candidate: Plan) -> anyhow::Result<bool> {
        if self.over || candidate == self.plan {
            return Ok(false);
        }
        match (self.trial)(&candidate)? {
            Trial::Violates(seen) => {
                (self.plan, self.seen) = (candidate, seen);
                Ok(true)
            }
            Trial::Holds => Ok(false),
            Trial::Over => {
                self.over = true;
                Ok(false)
            }
        }
    }

    /// Ends soon after the anomaly; then a little earlier, as long as that is enough.
    fn time(&mut self) -> anyhow::Result<()> {
        if let Some(after) = self.seen.after {
            let needed = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).saturating_add(MARGIN_MS);
            if needed < self.plan.time_limit_ms {
                self.accepts(ended_at(&self.plan, needed))?;
            }
        }
        loop {
            let shorter = self.plan.time_limit_ms * SHORTER.0 / SHORTER.1;
            if shorter < SHORTEST_MS || !self.accepts(ended_at(&self.plan, shorter))? {
                return Ok(());
            }
        }
    }

    fn faults(&mut self) -> anyhow::Result<()> {
        let mut chunk = self.plan.schedule.len();
        while chunk > 0 && !self.over {
            let mut at = 0;
            while at < self.plan.schedule.len() {
                let mut candidate = self.plan.clone();
                let end = (at + chunk).min(candidate.schedule.len());
                candidate.schedule.drain(at..end);
                candidate.forget_unused_nemeses();
                if !self.accepts(candidate)? {
                    at = end;
                }
            }
            chunk = (chunk / 2).min(self.plan.schedule.len());
        }
        Ok(())
    }

    /// Operations on the key of the anomaly alone.
    fn keys(&mut self) -> anyhow::Result<()> {
        if let Some(key) = self.seen.key.clone() {
            self.accepts(Plan { keys: vec![key], ..self.plan.clone() })?;
        }
        Ok(())
    }

    /// Half the clients, then a quarter less, then one less.
    fn clients(&mut self) -> anyhow::Result<()> {
        for (numerator, denominator) in [(1, 2), (3, 4)] {
            while self.accepts_clients(self.plan.concurrency * numerator / denominator)? {}
        }
        while self.accepts_clients(self.plan.concurrency - 1)? {}
        Ok(())
    }

    fn accepts_clients(&mut self, concurrency: u32) -> anyhow::Result<bool> {
        Ok(concurrency > 0 && self.accepts(Plan { concurrency, ..self.plan.clone() })?)
    }
}

/// The same plan with a shorter load. Faults that would begin after it are left out.
fn ended_at(plan: &Plan, time_limit_ms: u64) -> Plan {
    let mut shorter = Plan { time_limit_ms, ..plan.clone() };
    shorter.schedule.retain(|fault| fault.at < Nanos::from_millis(time_limit_ms));
    shorter.forget_unused_nemeses();
    shorter
}

#[cfg(test)]
mod tests {
    use history::ScheduledFault;

    use super::*;

    fn fault(second: u64, kind: &str) -> ScheduledFault {
        let (at, duration) = (Nanos::from_millis(second * 1000), Nanos::from_millis(500));
        ScheduledFault { at, duration, kind: kind.into(), selector: "one".into(), seed: second }
    }

    fn plan() -> Plan {
        Plan {
            target: "raft".into(),
            workload: "register".into(),
            nemesis: ["kill", "pause", "partition"].map(String::from).to_vec(),
            nodes: 5,
            concurrency: 15,
            rate: 800.0,
            time_limit_ms: 20_000,
            seed: 1,
            read_consistency: "linearizable".into(),
            mutant: None,
            keys: Vec::new(),
            net: crate::plan::Net::default(),
            nemesis_interval: None,
            quiet: None,
            quorum: None,
            disk: None,
            node_args: Vec::new(),
            schedule: (1..18).map(|at| fault(at, ["kill", "pause", "partition"][at as usize % 3])).collect(),
            binary: None,
            upgrade_to: None,
            expect: "valid".into(),
            fail_fast: false,
        }
    }

    /// A system that needs two certain faults, some time after them, a few clients and one key.
    fn needs(plan: &Plan, faults: [u64; 2], after_ms: u64, clients: u32) -> Trial {
        let has = |second| plan.schedule.iter().any(|fault| fault.seed == second);
        let wanted = plan.keys.is_empty() || plan.keys.contains(&"k3".to_owned());
        let enough = plan.time_limit_ms >= after_ms && plan.concurrency >= clients;
        if faults.into_iter().all(has) && wanted && enough {
            let after = Some(Duration::from_millis(after_ms));
            Trial::Violates(Seen { after, key: Some("k3".into()) })
        } else {
            Trial::Holds
        }
    }

    #[test]
    fn what_is_needed_is_left() {
        let mut trials = 0;
        let smallest = shrink(plan(), Seen { after: Some(Duration::from_secs(12)), key: None }, |plan| {
            trials += 1;
            Ok(needs(plan, [4, 9], 10_000, 4))
        })
        .unwrap();
        let left: Vec<u64> = smallest.schedule.iter().map(|fault| fault.seed).collect();
        assert_eq!(left, [4, 9]);
        assert_eq!((smallest.concurrency, smallest.keys), (4, vec!["k3".to_owned()]));
        assert_eq!(smallest.time_limit_ms, 10_500, "the anomaly was seen after ten seconds");
        assert_eq!(smallest.nemesis, ["kill", "pause"], "kinds without a fault are not asked for");
        assert!(trials < 60, "{trials} trials");
    }

    #[test]
    fn violation_without_faults_keeps_none() {
        let always = |plan: &Plan| {
            let after = Some(Duration::from_millis(plan.time_limit_ms.min(700)));
            Ok(Trial::Violates(Seen { after, key: Some("k3".into()) }))
        };
        let smallest = shrink(plan(), Seen::default(), always).unwrap();
        assert_eq!((smallest.schedule.len(), smallest.nemesis.len(), smallest.concurrency), (0, 0, 1));
        assert!((SHORTEST_MS..700).contains(&smallest.time_limit_ms), "{}", smallest.time_limit_ms);
    }

    #[test]
    fn plan_stays_as_it_is_when_nothing_can_be_left_out_or_no_trial_is_left() {
        let seen = || Seen { after: Some(Duration::from_secs(1)), key: Some("k3".into()) };
        assert_eq!(shrink(plan(), seen(), |_| Ok(Trial::Holds)).unwrap(), plan());
        let mut trials = 0;
        let over = shrink(plan(), seen(), |_| {
            trials += 1;
            Ok(Trial::Over)
        });
        assert_eq!((over.unwrap(), trials), (plan(), 1));
    }

    #[test]
    fn trials_end_in_the_middle_with_the_smallest_so_far() {
        let mut left = 3;
        let smallest = shrink(plan(), Seen::default(), |plan| {
            left -= 1;
            Ok(if left == 0 { Trial::Over } else { needs(plan, [1, 2], 3_000, 2) })
        })
        .unwrap();
        assert!(smallest.time_limit_ms < 20_000 && smallest.concurrency == 15, "{}", size(&smallest));
    }
}
