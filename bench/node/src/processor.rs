//! Processor time, from `/proc`.

use std::fs;

use anyhow::Context;

/// What has been spent until now, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) servers: f64,
    pub(crate) generator: f64,
    pub(crate) machine: f64,
}

impl Spent {
    /// Asks the system.
    pub(crate) fn now(servers: &[u32]) -> anyhow::Result<Self> {
        let of = |process: &str| {
            let path = format!("/proc/{process}/stat");
            let stat = fs::read_to_string(&path).with_context(|| format!("{path}: has the server ended?"))?;
            process_ticks(&stat).with_context(|| path)
        };
        let mut ticks = 0;
        for server in servers {
            ticks += of(&server.to_string())?;
        }
        let machine = machine_ticks(&fs::read_to_string("/proc/stat")?).context("/proc/stat")?;
        let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { servers: seconds(ticks), generator: seconds(of("self")?), machine: seconds(machine) })
    }
}

/// User and system time of a process with all its threads.
fn process_ticks(stat: &str) -> Option<u64> {
    // The name of the program may contain anything, parentheses too.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Everything but idleness: user, nice, system, interrupts. Time that other virtual machines took is nobody's work here.
fn machine_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    Some([0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_program_is_called() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 100 0 0";
        assert_eq!(process_ticks(stat), Some(12));
        assert_eq!(process_ticks("17 (cut) S 1"), None);
    }

    #[test]
    fn idle_time_is_no_work() {
        assert_eq!(machine_ticks("cpu  1 2 4 1000 1000 8 16 1000 0 0\ncpu0 1 1 1"), Some(31));
    }
}
