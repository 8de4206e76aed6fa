//! A fact about an object that is certain although operations overlap.
//!
//! Operations cause the fact, others may undo it. It is certain when one that causes it returned, every one that may
//! undo it and was invoked before had returned before the causing one was invoked, and none was invoked since. One of
//! unknown outcome may undo the fact at any time, so it is uncertain for ever.

use super::window::{Phase, Record};

#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// Operations that may still undo the fact.
    undoing: u32,
    /// Since when there is none.
    quiet_since: Option<u64>,
    /// When a cause returned that was invoked in this quiet.
    since: Option<u64>,
}

impl Default for Settled {
    fn default() -> Self {
        Self { undoing: 0, quiet_since: Some(0), since: None }
    }
}

impl Settled {
    /// One more operation may undo the fact, from before the window.
    pub(super) fn doubt(&mut self) {
        *self = Self { undoing: self.undoing + 1, quiet_since: None, since: None };
    }

    /// An operation that causes the fact, if it happens, has an event.
    pub(super) fn cause<C>(&mut self, record: &Record<C>, phase: Phase) {
        let in_the_quiet = self.quiet_since.is_some_and(|since| since <= record.invoked);
        if phase == Phase::Complete && record.observed().is_some() && in_the_quiet && self.since.is_none() {
            self.since = Some(record.end());
        }
    }

    /// An operation that may undo the fact has an event.
    pub(super) fn undo<C>(&mut self, record: &Record<C>, phase: Phase) {
        if phase == Phase::Invoke {
            self.doubt();
        } else if record.observed().is_some() {
            self.undoing -= 1;
            self.quiet_since = (self.undoing == 0).then(|| record.end());
        }
    }

    /// Whether it was certain all the time that an operation was open which returns at this moment.
    pub(super) fn throughout<C>(&self, record: &Record<C>) -> bool {
        self.since.is_some_and(|since| since < record.invoked)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::simulate::window::Ending;

    /// An operation that is open from one moment to another, or for ever.
    fn operation(invoked: u64, end: Option<u64>) -> Record<()> {
        let ending = match end {
            Some(at) => Ending::Returned { at, observed: Value::Null, event: 0 },
            None => Ending::Unknown,
        };
        Record { ordinal: 0, index: 0, invoked, call: (), ending }
    }

    #[test]
    fn fact_is_certain_after_its_cause_returned() {
        let mut fact = Settled::default();
        fact.cause(&operation(10, Some(20)), Phase::Invoke);
        assert!(!fact.throughout(&operation(15, Some(30))));
        fact.cause(&operation(10, Some(20)), Phase::Complete);
        assert!(!fact.throughout(&operation(15, Some(30))), "it was invoked before the cause returned");
        assert!(fact.throughout(&operation(21, Some(30))));
    }

    #[test]
    fn fact_is_uncertain_once_an_operation_may_undo_it() {
        let mut fact = Settled::default();
        fact.cause(&operation(10, Some(20)), Phase::Complete);
        let undoing = operation(25, Some(40));
        fact.undo(&undoing, Phase::Invoke);
        assert!(!fact.throughout(&operation(21, Some(30))));
        fact.undo(&undoing, Phase::Complete);
        assert!(!fact.throughout(&operation(41, Some(50))), "nothing caused it again");
        fact.cause(&operation(35, Some(45)), Phase::Complete);
        assert!(!fact.throughout(&operation(46, Some(50))), "the cause overlaps what undoes it");
        fact.cause(&operation(42, Some(48)), Phase::Complete);
        assert!(fact.throughout(&operation(49, Some(50))));
    }

    #[test]
    fn unknown_outcome_keeps_a_fact_uncertain_for_ever() {
        let mut fact = Settled::default();
        let undoing = operation(5, None);
        fact.undo(&undoing, Phase::Invoke);
        fact.undo(&undoing, Phase::Complete);
        fact.cause(&operation(10, Some(20)), Phase::Complete);
        assert!(!fact.throughout(&operation(30, Some(40))));
    }
}
