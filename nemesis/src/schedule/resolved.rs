//! A schedule as it was carried out, to be carried out again: the very nodes, links and times.

use std::collections::BTreeMap;

use history::{FaultPhase, Nanos, RunEvent, ScheduledFault};

use crate::Kind;

/// The faults of `schedule` that were injected, by what `events` recorded of them: times are those at which they were
/// injected and began to heal, and selectors name the nodes or links that were chosen. Seeds stay, because
/// they also decide how strong a fault is. `load` is when the load began, from which times of a schedule count.
///
/// A fault that was still standing where the events end keeps its planned duration.
pub fn resolved(schedule: &[ScheduledFault], events: &[RunEvent], load: Nanos) -> Vec<ScheduledFault> {
    let healing = healing_times(events);
    let injected = events.iter().filter_map(|event| match event {
        RunEvent::Fault { time, fault, phase: FaultPhase::Injected, detail, .. } => {
            Some((*time, *fault, detail))
        }
        _ => None,
    });
    let mut faults: Vec<ScheduledFault> = injected
        .filter_map(|(time, index, detail)| {
            let planned = schedule.get(index as usize)?;
            let duration = healing.get(&index).map_or(planned.duration, |healing| *healing - time);
            // What a script means is decided step by step, so it is repeated as it is written.
            let is_script = planned.kind.starts_with(Kind::Scenario.name());
            let selector = if is_script { planned.selector.clone() } else { chosen(detail).to_owned() };
            Some(ScheduledFault { at: time - load, duration, selector, ..planned.clone() })
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn healing_times(events: &[RunEvent]) -> BTreeMap<u32, Nanos> {
    let times = events.iter().filter_map(|event| match event {
        RunEvent::Fault { time, fault, phase: FaultPhase::Healing, .. } => Some((*fault, *time)),
        _ => None,
    });
    times.collect()
}

/// The part of a description that is a selector by itself: `leader: nodes n1; more` → `nodes n1`.
fn chosen(detail: &str) -> &str {
    let selectors = detail.split_once("; ").map_or(detail, |(selectors, _)| selectors);
    selectors.split_once(": ").map_or(selectors, |(_, chosen)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(millis: u64, fault: u32, phase: FaultPhase, detail: &str) -> RunEvent {
        let (time, kind, nodes) = (Nanos::from_millis(millis), "kill".to_owned(), Vec::new());
        RunEvent::Fault { time, fault, kind, phase, nodes, leaves_quorum: None, detail: detail.to_owned() }
    }

    fn planned(kind: &str, selector: &str) -> ScheduledFault {
        let (at, duration) = (Nanos::from_millis(1000), Nanos::from_millis(500));
        ScheduledFault { at, duration, kind: kind.to_owned(), selector: selector.to_owned(), seed: 7 }
    }

    #[test]
    fn injected_faults_keep_their_choices_and_times() {
        let schedule = [planned("kill", "leader"), planned("pause", "one"), planned("partition", "halves")];
        let events = [
            event(3020, 0, FaultPhase::Injected, "leader: nodes n2"),
            event(3050, 1, FaultPhase::Skipped, "no node is left"),
            event(3100, 2, FaultPhase::Injected, "halves: links n1→n2 n2→n1; holds bytes"),
            event(3600, 0, FaultPhase::Healing, ""),
        ];
        let again = resolved(&schedule, &events, Nanos::from_millis(2000));
        let read: Vec<(&str, u64, u64)> = again
            .iter()
            .map(|f| (f.selector.as_str(), f.at.0 / 1_000_000, f.duration.0 / 1_000_000))
            .collect();
        assert_eq!(read, [("nodes n2", 1020, 580), ("links n1→n2 n2→n1", 1100, 500)]);
    }

    #[test]
    fn selector_that_leaves_nothing_open_stays() {
        assert_eq!(chosen("nodes n1 n3"), "nodes n1 n3");
        assert_eq!(chosen("links n1→n2; resets connections"), "links n1→n2");
    }
}
