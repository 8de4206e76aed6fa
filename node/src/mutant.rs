//! Deliberately wrong variants of this server, so that the suite can prove that it sees them.
//!
//! Each variant is a line or two exactly where the wrong code would stand, asked for with `mutant!`. Without the feature
//! `mutants` the macro is the constant `false` and none of the wrong code is compiled. Ids are those of the catalogue of real
//! Raft bugs that the variants imitate. *Controls* look wrong and are not: nobody may convict them.

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

/// The ids and titles of the mutants in this build, controls included; empty in a normal build.
pub fn mutant_ids() -> &'static [(&'static str, &'static str)] {
    #[cfg(feature = "mutants")]
    return catalogue::IDS;
    #[cfg(not(feature = "mutants"))]
    &[]
}

/// The ids of the controls in this build: variants that are provably as safe as the server itself.
pub fn control_ids() -> &'static [&'static str] {
    #[cfg(feature = "mutants")]
    return catalogue::CONTROLS;
    #[cfg(not(feature = "mutants"))]
    &[]
}

#[cfg(feature = "mutants")]
mod catalogue {
    /// Makes the enum, the list and the parser from one table.
    macro_rules! catalogue {
        ($($id:ident: $title:literal,)*) => {
            /// One wrong variant.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum Mutant {
                $(#[doc = $title] $id,)*
            }

            pub(super) const IDS: &[(&str, &str)] = &[$((stringify!($id), $title),)*];

            impl Mutant {
                /// The mutant with the given catalogue id.
                pub fn parse(id: &str) -> Option<Self> {
                    match id {
                        $(stringify!($id) => Some(Self::$id),)*
                        _ => None,
                    }
                }
            }
        };
    }

    catalogue! {
        A1: "votes are not stored",
        A2: "forgets its term at a restart",
        A5: "counts answers instead of voters",
        A7: "votes twice in a term",
        A8: "a candidate that finds a leader forgets its vote (safe)",
        A9: "votes without comparing logs",
        A10: "votes by the length of logs",
        A11: "votes by the last terms of logs",
        A12: "refuses shorter logs, also those of a later term",
        A15: "campaigns without asking, and deposes leaders that work",
        B1: "commits entries of earlier terms",
        B2: "commits what has not been compared with the leader's log",
        B3: "cuts its log at every append",
        B4: "keeps what follows a conflict",
        B5: "appends without checking the previous term",
        B6: "acknowledges before commit",
        B7: "finds the client of an entry by its index alone",
        B8: "acknowledges appends before they are stored",
        B9: "writes without fsync",
        B11: "a leader counts itself before it has stored",
        B12: "acknowledges entries that the leader did not send",
        B14: "commits with half of the cluster",
        B17: "takes a write for durable because a later one of the same index is",
        B21: "late refusals set replication back (safe)",
        B22: "opens its term without an entry",
        C1: "reads from the leader's memory",
        C3: "reads before its term has committed anything",
        C4: "confirms reads by answers to earlier rounds",
        C5: "answers reads before their index is applied",
        C6: "keeps time for its leases by the wall clock",
        C10: "answers reads before it has caught up after a restart",
        D1: "does repeated writes again",
        D2: "only the node that proposed a write knows that it was done",
        D3: "snapshots lack the sessions",
        D4: "looks for repeated writes only before it proposes them",
        D8: "takes every number below the highest for done",
        E1: "snapshots name the entry before the last one",
        E4: "keeps a log that conflicts with an installed snapshot",
        E5: "installs snapshots that are older than its state",
        E11: "applies entries again over an installed snapshot",
        E12: "stores the state of a snapshot before its position",
        F1: "changes one voter at once, before its term has committed anything",
        F2: "commits a change with the new voters alone",
        F5: "keeps the members of entries that it has taken back",
        F6: "commits with the help of learners",
        F7: "begins a change while another is under way",
        F10: "comes back without its log, under its old name",
        G2: "appends behind the remains of a torn batch",
        G4: "does not look at checksums",
        G5: "takes damage in the middle of the log for its end",
        G7: "stores entries, and not that others were cut off",
    }

    pub(super) const CONTROLS: &[&str] = &["A8", "B21"];

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

        #[test]
        fn every_control_is_in_the_catalogue() {
            assert!(CONTROLS.iter().all(|id| Mutant::parse(id).is_some()));
        }
    }
}
