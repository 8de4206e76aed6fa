//! One form for all states of a node that behave alike.
//!
//! The core compares times with times and numbers of writes with numbers of writes, and never looks at their absolute values. A
//! model checker must recognise a state in which it has been, so states have to be equal that differ in nothing else.

use super::types::Millis;
use super::{Core, Role};

impl Core {
    /// For model checkers. Lets everything that this node remembers the time of have happened at time zero: how long ago that
    /// is, and so which timeouts have passed, is decided by the time of the next step. The `n`-th write that is not durable has
    /// the sequence number `n` from here on. A message that waits twice for the disk waits once.
    pub fn rebase(&mut self) {
        let zero = Millis(0);
        (self.now, self.last_tick, self.leader_heard, self.election_deadline) = (zero, zero, zero, zero);
        if let Role::Leader(leadership) = &mut self.role {
            leadership.forget_times();
        }
        self.outbox.rebase();
    }
}
