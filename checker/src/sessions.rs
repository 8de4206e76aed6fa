//! Session guarantees: does every session see a world that only moves forward?
//!
//! The guarantees are those of Terry et al., *Session Guarantees for Weakly Consistent Replicated Data* (1994), in the
//! words of Jepsen, which speak of what sessions observe. A *session* is what one process does; a process that
//! would go on after an operation of unknown outcome is a new session. The store keeps one order of the writes of a key.
//!
//! * `monotonic-reads`: no read of a session returns a value older than an earlier read of it of the same key returned;
//! * `read-your-writes`: no read of a session returns a value older than what the session itself had written to the key;
//! * `monotonic-writes`: the writes of a session to a key have the order in which it made them; and whoever has read a write
//!   of another session reads of other keys nothing older than what that session had written before;
//! * `writes-follow-reads`: a write of a key is newer than what its session had read of the key before; and whoever has read
//!   a write of another session reads of other keys nothing older than what that session had read before.
//!
//! *Older* is what the order of the writes says. Versions, where they are observed, are that order. Without them it is known
//! in part: the initial value is the oldest; a write that was acknowledged or read before another was invoked is older,
//! and so is an earlier write of the same session. A guarantee is violated when **no** order of the writes of a key that
//! agrees with this lets it hold; two sessions that read two values in opposite orders prove that too. A store that
//! orders acknowledged writes against real time (by clocks of its own, for example) breaks the rule about real time,
//! and then the session that meets the older value is what is reported.
//!
//! Guarantees: a violation is certain, and every violation of these definitions is found; time is near-linear in the
//! operations, times the sessions that wrote to a key for the last two guarantees. Failed operations never happened;
//! a write of unknown outcome counts as far as somebody read it.
//!
//! What cannot be seen: what nobody read. Without versions, the order of two writes of one session to one key, so that
//! `monotonic-writes` needs sessions that use several keys. What a compare-and-set that did not match saw. Values that were
//! written more than once, or by nobody, are not judged without versions; the outcome is then at best `unknown`. That
//! observers stay with their own reads is part of the last two definitions: a replica that falls behind between two
//! reads of one session shows as a violation of what it fails to show.

use history::{History, Operations};

use crate::meter::{Limit, Meter};
use crate::narration::count;
use crate::{Anomaly, Budget, CheckError, CheckOutcome, CheckResult, Finding};

use order::Order;
use rules::{Claims, claims};
use trace::Trace;

mod explain;
mod order;
mod rules;
pub(crate) mod trace;

/// The most violations of one guarantee that are explained.
const MAX_ANOMALIES: usize = 5;

/// One of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// What a session has read it does not unread.
    MonotonicReads,
    /// A session sees its own writes.
    ReadYourWrites,
    /// The writes of a session have its order for everybody.
    MonotonicWrites,
    /// A write comes after what its session had read.
    WritesFollowReads,
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::MonotonicReads, Self::ReadYourWrites, Self::MonotonicWrites, Self::WritesFollowReads];

    /// The name in verdicts, which is also the kind of its anomalies.
    pub fn name(self) -> &'static str {
        match self {
            Self::MonotonicReads => "monotonic-reads",
            Self::ReadYourWrites => "read-your-writes",
            Self::MonotonicWrites => "monotonic-writes",
            Self::WritesFollowReads => "writes-follow-reads",
        }
    }

    /// What it promises, in a line.
    pub fn promise(self) -> &'static str {
        match self {
            Self::MonotonicReads => "a session reads nothing older than what it read before",
            Self::ReadYourWrites => "a session reads nothing older than what it wrote before",
            Self::MonotonicWrites => "everybody sees the writes of a session in its order",
            Self::WritesFollowReads => "whoever sees a write sees what its session had read before",
        }
    }

    /// What a history must contain for the guarantee to mean anything.
    fn needs(self) -> &'static str {
        match self {
            Self::MonotonicReads => "no session read a key twice",
            Self::ReadYourWrites => "no session read a key that it had written",
            Self::MonotonicWrites => {
                "nobody saw one of several writes of a session and then read another key of them"
            }
            Self::WritesFollowReads => {
                "nobody saw a write of a session that had read and then read that other key"
            }
        }
    }
}

/// Judges the four session guarantees: one finding each, in the order of the module's list. Keys are registers with
/// `read`, `write` and `cas` (or `get`, `put` and `cas`), or versioned registers; which of the two is said by the
/// header of the history, or else by the shape of what was observed.
///
/// # Errors
/// When an operation is not one of a register.
pub fn session_guarantees(history: &History, budget: &Budget) -> Result<Vec<Finding>, CheckError> {
    let trace = Trace::read(history)?;
    // Every guarantee gets its share of the time, so that one that is expensive does not starve the others.
    let share = Budget { time: budget.time / Guarantee::ALL.len() as u32, ..budget.clone() };
    Ok(Guarantee::ALL.map(|guarantee| examine(history, &trace, guarantee, &share)).into())
}

/// Judges one of the session guarantees, as [`session_guarantees`] does, with the whole budget.
///
/// # Errors
/// When an operation is not one of a register.
pub fn session_guarantee(
    guarantee: Guarantee,
    history: &History,
    budget: &Budget,
) -> Result<Finding, CheckError> {
    Ok(examine(history, &Trace::read(history)?, guarantee, budget))
}

fn examine(history: &History, trace: &Trace, guarantee: Guarantee, budget: &Budget) -> Finding {
    let mut meter = Meter::start(budget);
    meter.progress().begin(guarantee.name(), 1, history.operations.len());
    let judged = meter.hold(trace.bytes()).and_then(|()| judge(trace, guarantee, &mut meter));
    let is_decided = judged.is_ok();
    let finding = finding(&history.operations, trace, guarantee, judged, &meter, budget);
    if is_decided {
        meter.progress().settle(history.operations.len(), !finding.anomalies.is_empty());
    }
    finding
}

/// What is known about one guarantee.
struct Judged {
    claims: Claims,
    order: Order,
}

fn judge(trace: &Trace, guarantee: Guarantee, meter: &mut Meter) -> Result<Judged, Limit> {
    meter.check_time()?;
    meter.check_memory(0)?;
    let claims = claims(trace, guarantee, meter)?;
    let order = Order::new(trace, &claims, meter)?;
    Ok(Judged { claims, order })
}

fn finding(
    operations: &Operations,
    trace: &Trace,
    guarantee: Guarantee,
    judged: Result<Judged, Limit>,
    meter: &Meter,
    budget: &Budget,
) -> Finding {
    let (anomalies, note) = match &judged {
        Ok(judged) => {
            let narrator = explain::Narrator { operations, trace, guarantee, judged };
            let circles = judged.order.circles();
            let anomalies = circles.iter().take(MAX_ANOMALIES).map(|circle| narrator.anomaly(circle));
            (anomalies.collect(), remarks(trace, guarantee, judged, circles.len()))
        }
        Err(Limit::Memory) => {
            (Vec::new(), Some(format!("the memory budget of {} bytes is exhausted", budget.memory_bytes)))
        }
        Err(Limit::Time | Limit::Steps) => {
            (Vec::new(), Some(format!("the time budget of {:?} is exhausted", budget.time)))
        }
    };
    let outcome = outcome(&anomalies, note.as_ref());
    let result = CheckResult {
        name: guarantee.name().to_owned(),
        outcome,
        examined: operations.len() as u64,
        duration_ms: meter.elapsed_ms(),
        peak_memory_bytes: meter.peak_bytes(),
        note,
    };
    Finding { result, anomalies }
}

fn outcome(anomalies: &[Anomaly], note: Option<&String>) -> CheckOutcome {
    match (anomalies.is_empty(), note) {
        (false, _) => CheckOutcome::Violation,
        (true, Some(_)) => CheckOutcome::Unknown,
        (true, None) => CheckOutcome::Valid,
    }
}

fn remarks(trace: &Trace, guarantee: Guarantee, judged: &Judged, circles: usize) -> Option<String> {
    let mut remarks = Vec::new();
    if circles > MAX_ANOMALIES {
        remarks.push(format!("{circles} violations, {MAX_ANOMALIES} of them are shown"));
    }
    if judged.claims.examined == 0 {
        remarks.push(format!("{}, so there is nothing to judge", guarantee.needs()));
    }
    if trace.unattributed > 0 {
        let reads = count(trace.unattributed, "read");
        remarks.push(format!("{reads} returned a value that nobody wrote, or several wrote: not judged"));
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

#[cfg(test)]
mod tests;
