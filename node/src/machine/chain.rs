//! A digest of everything that was applied, in its order.
//!
//! Two nodes that have applied the same entries have the same digest; nodes that differ in a single applied entry
//! differ for ever, even after later writes made their data equal again. It costs a pass over the bytes of an entry.
//!
//! It is FNV-1a with 64 bits: it finds mistakes, not forgeries, and is the same in every build.

use crate::codec::put_members;
use crate::raft::{Entry, Payload};

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The digest so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain(u64);

impl Default for Chain {
    fn default() -> Self {
        Self(OFFSET_BASIS)
    }
}

impl Chain {
    /// Takes in the next applied entry.
    pub(crate) fn extend(&mut self, entry: &Entry) {
        self.bytes(&entry.index.0.to_le_bytes());
        self.bytes(&entry.term.0.to_le_bytes());
        match &entry.payload {
            Payload::Noop => self.bytes(&[0]),
            Payload::Command(command) => {
                self.bytes(&[1]);
                self.bytes(command);
            }
            Payload::Members(members) => {
                let mut encoded = vec![2];
                put_members(&mut encoded, members);
                self.bytes(&encoded);
            }
        }
    }

    /// The form in which it is part of a snapshot.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        format!("{:016x}", self.0)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Index, Term};

    fn entry(index: u64, term: u64, command: &'static str) -> Entry {
        Entry { index: Index(index), term: Term(term), payload: Payload::Command(command.into()) }
    }

    fn digest(entries: &[Entry]) -> String {
        let mut chain = Chain::default();
        entries.iter().for_each(|entry| chain.extend(entry));
        chain.hex()
    }

    #[test]
    fn one_different_entry_shows_for_ever() {
        let same = [entry(1, 1, "a"), entry(2, 1, "b")];
        let other_term = [entry(1, 2, "a"), entry(2, 1, "b")];
        let other_command = [entry(1, 1, "x"), entry(2, 1, "b")];
        assert_eq!(digest(&same), digest(&same.clone()));
        assert_ne!(digest(&same), digest(&other_term));
        assert_ne!(digest(&same), digest(&other_command));
    }
}
