//! Deliberately wrong variants of this server, so that the suite can prove that it sees them.
//!
//! Each variant is a line or two exactly where the wrong code would stand, asked for with `mutant!`. Without the feature
//! `mutants` the macro is the constant `false` and none of the wrong code is compiled.

#[cfg(feature = "mutants")]
pub use catalogue::Mutant;

/// Whether the owner's configuration selects a mutant: `mutant!(self.config, A9)`.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($owner:expr, $id:ident) => {
        $owner.mutant == Some($crate::mutant::Mutant::$id)
    };
}

/// No mutant is compiled into this build.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($owner:expr, $id:ident) => {
        false
    };
}

pub(crate) use mutant;

/// The ids and titles of the mutants in this build; empty in a normal build.
pub fn mutant_ids() -> &'static [(&'static str, &'static str)] {
    #[cfg(feature = "mutants")]
    return catalogue::IDS;
    #[cfg(not(feature = "mutants"))]
    &[]
}

#[cfg(feature = "mutants")]
mod catalogue {
    /// One wrong variant.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Mutant {
        /// Keeps its vote in memory only.
        A1,
        /// Votes as often as it is asked in a term.
        A7,
        /// Votes without looking at the candidate's log.
        A9,
        /// Compares logs by their length alone.
        A10,
        /// Compares logs by their last term alone.
        A11,
        /// Commits an entry of an earlier term once a majority has it.
        B1,
        /// Appends without comparing the term of the previous entry.
        B5,
        /// Acknowledges a write before it is committed.
        B6,
        /// Acknowledges without fsync.
        B9,
        /// Commits with half of the cluster, rounded down.
        B14,
        /// Answers linearizable reads from memory.
        C1,
        /// Commits with a majority of the new voters alone while the voters change.
        F2,
    }

    pub(super) const IDS: &[(&str, &str)] = &[
        ("A1", "votes are not stored"),
        ("A7", "votes twice in a term"),
        ("A9", "votes without comparing logs"),
        ("A10", "votes by the length of logs"),
        ("A11", "votes by the last terms of logs"),
        ("B1", "commits entries of earlier terms"),
        ("B5", "appends without checking the previous term"),
        ("B6", "acknowledges before commit"),
        ("B9", "writes without fsync"),
        ("B14", "commits with half of the cluster"),
        ("C1", "reads from the leader's memory"),
        ("F2", "commits a change with the new voters alone"),
    ];

    impl Mutant {
        /// The mutant with the given catalogue id.
        pub fn parse(id: &str) -> Option<Self> {
            match id {
                "A1" => Some(Self::A1),
                "A7" => Some(Self::A7),
                "A9" => Some(Self::A9),
                "A10" => Some(Self::A10),
                "A11" => Some(Self::A11),
                "B1" => Some(Self::B1),
                "B5" => Some(Self::B5),
                "B6" => Some(Self::B6),
                "B9" => Some(Self::B9),
                "B14" => Some(Self::B14),
                "C1" => Some(Self::C1),
                "F2" => Some(Self::F2),
                _ => None,
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_catalogued_id_parses_to_the_mutant_of_that_name() {
            for (id, _) in IDS {
                let mutant = Mutant::parse(id).expect("a catalogued id");
                assert_eq!(format!("{mutant:?}"), *id);
            }
            assert_eq!(Mutant::parse("Z1"), None);
        }
    }
}
