//! What each guarantee claims about a history: pairs of writes of a key of which the first may not be newer.
//!
//! What a session had done to a key before its `i`-th access is a *past*: a chain of links, one per read or write, so that a
//! claim about all of it is one claim. Chains cost one link per access; without them the claims of
//! writes-follow-reads would be quadratic.

use rustc_hash::FxHashMap;

use super::Guarantee;
use super::trace::{Access, Trace, WriteId};
use crate::meter::{Limit, Meter};

/// The number of a link in [`Claims::links`].
pub(super) type LinkId = u32;

/// One element of a past: what was read or written, and the link before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub write: WriteId,
    /// The operation that read or wrote it.
    pub position: u32,
    /// Its place among the accesses of its session.
    index: u32,
    pub before: Option<LinkId>,
}

/// What may not be newer than something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A write, read or made by the session itself in the operation at this position.
    Own(WriteId, u32),
    /// Everything in the past that ends with this link, which came before the write at a position.
    Past(LinkId, u32),
}

/// What is in `source` is not newer than `target`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub source: Source,
    pub target: WriteId,
    /// The read that saw the write after that past; the same as `last` when that is the write itself.
    pub seen: u32,
    /// The operation that met `target`.
    pub last: u32,
}

/// Everything that a guarantee claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub links: Vec<Link>,
    pub all: Vec<Claim>,
    /// How many pairs of operations the guarantee spoke about.
    pub examined: u64,
}

impl Claims {
    fn bytes(&self) -> u64 {
        let links = self.links.capacity() * size_of::<Link>();
        (links + self.all.capacity() * size_of::<Claim>()) as u64
    }

    fn add(&mut self, source: Source, target: WriteId, seen: u32, last: u32) {
        self.examined += 1;
        if !matches!(source, Source::Own(write, _) if write == target) {
            self.all.push(Claim { source, target, seen, last });
        }
    }
}

/// Collects the claims of a guarantee.
pub(super) fn claims(trace: &Trace, guarantee: Guarantee, meter: &mut Meter) -> Result<Claims, Limit> {
    let mut claims = Claims::default();
    match guarantee {
        Guarantee::MonotonicReads => own(trace, &mut claims, meter, |access| access.read)?,
        Guarantee::ReadYourWrites => own(trace, &mut claims, meter, acknowledged_write)?,
        Guarantee::MonotonicWrites => others(trace, &mut claims, meter, |access| access.write)?,
        Guarantee::WritesFollowReads => others(trace, &mut claims, meter, |access| access.read)?,
    }
    Ok(claims)
}

fn acknowledged_write(access: &Access) -> Option<WriteId> {
    access.write.filter(|_| access.is_acknowledged)
}

/// How many accesses are looked at between two looks at the limits.
const STRIDE: usize = 1024;

/// No read of a session is older than what the session itself had met.
fn own(
    trace: &Trace,
    claims: &mut Claims,
    meter: &mut Meter,
    met: impl Fn(&Access) -> Option<WriteId>,
) -> Result<(), Limit> {
    let mut accesses = 0_usize;
    for session in &trace.sessions {
        let mut before: FxHashMap<u32, (WriteId, u32)> = FxHashMap::default();
        for access in session {
            if let (Some(target), Some((write, at))) = (access.read, before.get(&access.key)) {
                claims.add(Source::Own(*write, *at), target, access.position, access.position);
            }
            if let Some(write) = met(access) {
                let newest = newest(trace, before.get(&access.key).copied(), (write, access.position));
                before.insert(access.key, newest);
            }
            accesses += 1;
            if accesses.is_multiple_of(STRIDE) {
                meter.check_time()?;
                meter.check_memory(claims.bytes())?;
            }
        }
    }
    Ok(())
}

/// Versions may contradict the order of the session, so the newest is kept; without versions that is the last.
fn newest(trace: &Trace, before: Option<(WriteId, u32)>, next: (WriteId, u32)) -> (WriteId, u32) {
    before.filter(|before| trace.is_versioned && trace.is_older(next.0, before.0)).unwrap_or(next)
}

/// The last links of the pasts of sessions, by session and key.
type Pasts = FxHashMap<(u32, u32), Vec<LinkId>>;

/// What came before a write is not newer than it, and whoever saw the write sees nothing older of other keys.
fn others(
    trace: &Trace,
    claims: &mut Claims,
    meter: &mut Meter,
    met: impl Fn(&Access) -> Option<WriteId>,
) -> Result<(), Limit> {
    let mut pasts = Pasts::default();
    let mut sessions_of_key: Vec<Vec<u32>> = vec![Vec::new(); trace.keys.len()];
    for (session, accesses) in trace.sessions.iter().enumerate() {
        let session = session as u32;
        for (index, access) in accesses.iter().enumerate() {
            let past = pasts.get(&(session, access.key)).and_then(|links| links.last().copied());
            if let (Some(link), Some(write)) = (past, access.write) {
                let source = Source::Past(link, access.position);
                claims.add(source, write, access.position, access.position);
                // Without versions nearly nothing can contradict that, so a pass means nothing.
                claims.examined -= u64::from(!trace.is_versioned);
            }
            let Some(write) = met(access) else { continue };
            let link = Link { write, position: access.position, index: index as u32, before: past };
            claims.links.push(link);
            let links = pasts.entry((session, access.key)).or_default();
            if links.is_empty() {
                sessions_of_key[access.key as usize].push(session);
            }
            links.push(claims.links.len() as LinkId - 1);
        }
        meter.check_time()?;
        meter.check_memory(claims.bytes())?;
    }
    let observations = Observations { trace, pasts: &pasts, sessions_of_key: &sessions_of_key };
    observations.collect(claims, meter)
}

struct Observations<'a> {
    trace: &'a Trace,
    pasts: &'a Pasts,
    /// The sessions that have a past of a key.
    sessions_of_key: &'a [Vec<u32>],
}

/// The latest write of another session that was seen: its place in that session, its key, its operation and the read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    index: u32,
    key: u32,
    position: u32,
    by: u32,
}

/// The latest seen write of a session, and the latest of another key than that one.
type Latest = [Option<Seen>; 2];

impl Observations<'_> {
    fn collect(&self, claims: &mut Claims, meter: &mut Meter) -> Result<(), Limit> {
        let mut visits = 0_usize;
        for (session, accesses) in self.trace.sessions.iter().enumerate() {
            let mut seen: FxHashMap<u32, Latest> = FxHashMap::default();
            for access in accesses {
                let Some(target) = access.read else { continue };
                visits += self.claim(&seen, access, target, claims);
                self.see(&mut seen, session as u32, access, target);
                visits += 1;
                if visits >= STRIDE {
                    visits = 0;
                    meter.check_time()?;
                    meter.check_memory(claims.bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Claims what the seen writes of others say about this read; answers how many sessions were looked at.
    fn claim(
        &self,
        seen: &FxHashMap<u32, Latest>,
        access: &Access,
        target: WriteId,
        claims: &mut Claims,
    ) -> usize {
        let candidates = &self.sessions_of_key[access.key as usize];
        let mut claim = |session: &u32, latest: &Latest| {
            let other_key = latest.iter().flatten().find(|seen| seen.key != access.key);
            let (Some(seen), Some(links)) = (other_key, self.pasts.get(&(*session, access.key))) else {
                return;
            };
            let length = links.partition_point(|link| claims.links[*link as usize].index < seen.index);
            if let Some(link) = length.checked_sub(1).map(|last| links[last]) {
                claims.add(Source::Past(link, seen.position), target, seen.by, access.position);
            }
        };
        // The order of a hash map would make verdicts differ, so the smaller side decides only how, not in which order.
        if candidates.len() <= seen.len() {
            candidates.iter().for_each(|session| {
                if let Some(latest) = seen.get(session) {
                    claim(session, latest);
                }
            });
            candidates.len()
        } else {
            let mut sessions: Vec<&u32> = seen.keys().collect();
            sessions.sort_unstable();
            sessions.iter().for_each(|session| claim(session, &seen[session]));
            sessions.len()
        }
    }

    fn see(&self, seen: &mut FxHashMap<u32, Latest>, session: u32, access: &Access, read: WriteId) {
        let write = self.trace.writes[read as usize];
        if write.session == super::trace::NOBODY || write.session == session {
            return;
        }
        let found =
            Seen { index: write.index, key: write.key, position: write.position, by: access.position };
        let [first, second] = seen.entry(write.session).or_default();
        match first {
            Some(latest) if latest.index >= found.index => {
                let is_other = found.key != latest.key;
                if is_other && second.is_none_or(|second| second.index < found.index) {
                    *second = Some(found);
                }
            }
            _ => {
                let replaced = first.replace(found);
                if replaced.is_some_and(|replaced| replaced.key != found.key) {
                    *second = replaced;
                }
            }
        }
    }
}
