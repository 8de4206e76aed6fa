//! A broken guarantee in words. Most are one claim and one known order that contradict each other; the others are a
//! circle through several sessions, which is told step by step.

use history::{Nanos, Operations, ValueId};

use super::order::{Circle, Edge};
use super::rules::{Claim, Source};
use super::trace::{NOBODY, Trace, WriteId};
use super::{Guarantee, Judged};
use crate::Anomaly;
use crate::narration::{show_value, who};

/// The most claims of a circle among which the best proof is looked for.
const MAX_COMPARED: usize = 10_000;

/// The most claims from which the shortest circle is looked for.
const MAX_WAYS: usize = 50;

pub(super) struct Narrator<'a> {
    pub operations: &'a Operations,
    pub trace: &'a Trace,
    pub guarantee: Guarantee,
    pub judged: &'a Judged,
}

/// A claim about one value: the operation at `at` met `write`, and the claim says that its target is not older.
#[derive(Debug, Clone, Copy)]
struct Instance {
    claim: Claim,
    write: WriteId,
    at: u32,
}

/// Part of a proof: words, and the operations that they are about.
struct Step {
    words: String,
    positions: Vec<u32>,
}

impl Narrator<'_> {
    pub(super) fn anomaly(&self, circle: &Circle) -> Anomaly {
        let contradiction = self.contradiction(circle);
        let steps = match contradiction {
            Some(instance) => {
                vec![self.meets(instance), self.is_older(instance.claim.target, instance.write)]
            }
            None => self.round(circle),
        };
        let mut positions: Vec<u32> = steps.iter().flat_map(|step| step.positions.iter().copied()).collect();
        positions.retain(|position| *position != NOBODY);
        positions.sort_unstable();
        positions.dedup();
        let key = self.key(circle.writes[0]);
        let place = key.map_or_else(String::new, |key| format!("key {key}: "));
        let words: Vec<&str> = steps.iter().map(|step| step.words.as_str()).collect();
        let explanation = match (contradiction, words.as_slice()) {
            (Some(_), [met, older]) => format!("{place}{met}, which had replaced what it got: {older}."),
            _ => format!(
                "{place}no order of the writes lets every session move forward: {}.",
                words.join("; ")
            ),
        };
        Anomaly {
            id: String::new(),
            kind: self.guarantee.name().to_owned(),
            explanation,
            operations: positions.iter().map(|at| self.operations.index(*at as usize)).collect(),
            key: key.map(str::to_owned),
            details: Vec::new(),
        }
    }

    /// The claim that is contradicted first by what is known about two values.
    fn contradiction(&self, circle: &Circle) -> Option<Instance> {
        let claims = circle.claims.iter().take(MAX_COMPARED).map(|claim| self.judged.claims.all[*claim]);
        claims.filter_map(|claim| self.contradicted(claim)).min_by_key(|instance| {
            let last = instance.claim.last;
            (self.end(last), last, instance.write)
        })
    }

    fn contradicted(&self, claim: Claim) -> Option<Instance> {
        let (write, at) = match claim.source {
            Source::Own(write, at) => Some((write, at)),
            Source::Past(link, _) => {
                let links = &self.judged.claims.links;
                let past = std::iter::successors(Some(&links[link as usize]), |link| {
                    link.before.map(|before| &links[before as usize])
                });
                let mut replaced =
                    past.take(MAX_COMPARED).filter(|link| self.trace.is_older(claim.target, link.write));
                replaced.next().map(|link| (link.write, link.position))
            }
        }?;
        self.trace.is_older(claim.target, write).then_some(Instance { claim, write, at })
    }

    /// The steps of the shortest circle that was found.
    fn round(&self, circle: &Circle) -> Vec<Step> {
        let order = &self.judged.order;
        let claims = circle.claims.iter().take(MAX_WAYS);
        let ways = claims.filter_map(|at| {
            let claim = self.judged.claims.all[*at];
            let way = order.way(claim.target, order.source(claim.source))?;
            Some((way.len(), *at, way))
        });
        let Some((_, first, way)) = ways.min_by_key(|(length, at, _)| (*length, *at)) else {
            return Vec::new();
        };
        let closing = self.judged.claims.all[first];
        let mut steps = Vec::new();
        let mut from = closing.target;
        for edge in way {
            self.take(edge, &mut from, &mut steps);
        }
        steps.push(self.meets(self.instance(closing, from)));
        steps
    }

    /// Takes an edge of the way: a claim, or the last edge of what is known about two values.
    fn take(&self, edge: Edge, from: &mut WriteId, steps: &mut Vec<Step>) {
        let Some(next) = self.judged.order.write(edge.to) else { return };
        match edge.claim() {
            Some(claim) => steps.push(self.meets(self.instance(self.judged.claims.all[claim], *from))),
            None => steps.push(self.is_older(*from, next)),
        }
        *from = next;
    }

    /// What the claim says about one of the values of its source.
    fn instance(&self, claim: Claim, write: WriteId) -> Instance {
        let at = match claim.source {
            Source::Own(_, at) => at,
            Source::Past(link, _) => {
                let links = &self.judged.claims.links;
                let past = std::iter::successors(Some(&links[link as usize]), |link| {
                    link.before.map(|before| &links[before as usize])
                });
                let mut found = past.filter(|link| link.write == write);
                found.next().map_or(NOBODY, |link| link.position)
            }
        };
        Instance { claim, write, at }
    }

    /// `process 3 read 7 at 1.203 s after it had itself written 9, acknowledged at 1.180 s`.
    fn meets(&self, instance: Instance) -> Step {
        let Instance { claim, write, at } = instance;
        let (met, target) = (self.show(write), self.show(claim.target));
        let last = format!("{} read {target} at {}", self.who(claim.last), self.end(claim.last));
        let before = self.end(at);
        let words = match (self.guarantee, claim.source) {
            (Guarantee::ReadYourWrites, _) => {
                format!("{last} after it had itself written {met}, acknowledged at {before}")
            }
            (_, Source::Own(..)) => format!("{last} after it had read {met} at {before}"),
            (_, Source::Past(..)) if claim.seen == claim.last => {
                let deed = self.deed();
                let end = self.end(claim.last);
                format!(
                    "{} wrote {target} at {end} after it had {deed} {met} at {before}",
                    self.who(claim.last)
                )
            }
            (_, Source::Past(_, then)) => {
                let seen = self.seen(claim.seen);
                let (writer, deed) = (self.who(then), self.deed());
                format!(
                    "{last} after it had read {seen} at {}, and before {writer} wrote that it had {deed} {met} at {before}",
                    self.end(claim.seen)
                )
            }
        };
        let made = |write: WriteId| self.trace.writes[write as usize].position;
        let mut positions = vec![at, claim.seen, claim.last, made(write), made(claim.target)];
        if let Source::Past(_, then) = claim.source {
            positions.push(then);
        }
        Step { words, positions }
    }

    fn deed(&self) -> &'static str {
        if self.guarantee == Guarantee::MonotonicWrites { "written" } else { "read" }
    }

    /// `7 was acknowledged at 1.100 s, before process 2 invoked the write of 9 at 1.150 s`.
    fn is_older(&self, older: WriteId, newer: WriteId) -> Step {
        let (old, new) = (&self.trace.writes[older as usize], &self.trace.writes[newer as usize]);
        let (old_name, new_name) = (self.show(older), self.show(newer));
        let words = if self.trace.is_versioned {
            format!("{old_name} is older than {new_name}")
        } else if old.position == NOBODY {
            "nothing is there only at first".to_owned()
        } else if old.known < new.call {
            let is_read = old.known_by != old.position;
            let how = if is_read {
                format!("read by {}", self.who(old.known_by))
            } else {
                "acknowledged".to_owned()
            };
            format!(
                "{old_name} was {how} at {}, before {} invoked the write of {new_name} at {}",
                old.known,
                self.who(new.position),
                new.call
            )
        } else {
            format!("{} wrote {old_name} before {new_name}", self.who(old.position))
        };
        Step { words, positions: vec![old.position, old.known_by, new.position] }
    }

    fn show(&self, write: WriteId) -> String {
        let write = &self.trace.writes[write as usize];
        if self.trace.is_versioned {
            return format!("version {}", write.name);
        }
        show_value(self.operations.values(), ValueId(write.name as u32))
    }

    /// What a read saw, with its key: `9 of key y`.
    fn seen(&self, at: u32) -> String {
        let key = self.operations.names().get(self.operations.key(at as usize)).unwrap_or("without a name");
        let output = self.operations.output(at as usize);
        format!("{} of key {key}", show_value(self.operations.values(), output))
    }

    fn key(&self, write: WriteId) -> Option<&str> {
        let (name, _) = self.trace.keys[self.trace.writes[write as usize].key as usize];
        self.operations.names().get(name)
    }

    fn who(&self, at: u32) -> String {
        if at == NOBODY {
            return "somebody".to_owned();
        }
        who(&self.operations.get(at as usize))
    }

    fn end(&self, at: u32) -> Nanos {
        let at = at as usize;
        if at >= self.operations.len() {
            return Nanos(0);
        }
        self.operations.ret(at).unwrap_or(self.operations.call(at))
    }
}
