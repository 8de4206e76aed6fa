//! Proof by canary: which links let bytes pass, and which do not.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fault::{FaultError, list};
use crate::{Link, Links};

/// How long a canary may take on a healthy link before it counts as stopped. Loopback takes less than a millisecond; a
/// starved machine takes longer, and then a stopped canary proves less than it seems, but a held link still
/// holds.
pub(crate) const CANARY_WAIT: Duration = Duration::from_millis(100);

/// Sends a canary over each link at once; `None` for those that did not arrive in time.
pub(crate) async fn send(
    links: &Links,
    over: &[Link],
    wait: Duration,
) -> io::Result<BTreeMap<Link, Option<Duration>>> {
    let mut probes = JoinSet::new();
    for link in over {
        let (links, link) = (links.clone(), link.clone());
        probes.spawn(async move {
            let took = links.probe(&link, wait).await;
            (link, took)
        });
    }
    let mut results = BTreeMap::new();
    while let Some(probe) = probes.join_next().await {
        let (link, took) = probe.map_err(io::Error::other)?;
        results.insert(link, took?);
    }
    Ok(results)
}

/// The links that nobody holds in either direction: over these a canary must pass.
pub(crate) fn open_ones<'a>(links: &Links, among: impl IntoIterator<Item = &'a Link>) -> Vec<Link> {
    let is_open = |link: &&Link| !links.rule(link).held && !links.rule(&link.reversed()).held;
    among.into_iter().filter(is_open).cloned().collect()
}

/// Waits until a canary has passed every link of these that nobody holds; returns how many passed. A link that another
/// fault begins to hold meanwhile is left to that fault.
pub(crate) async fn all_pass(links: &Links, among: &[Link], limit: Duration) -> Result<usize, FaultError> {
    let begin = Instant::now();
    let mut passed = 0;
    let mut left = open_ones(links, among);
    while !left.is_empty() {
        let results = send(links, &left, CANARY_WAIT).await?;
        passed += results.values().flatten().count();
        left = open_ones(links, results.iter().filter(|(_, took)| took.is_none()).map(|(link, _)| link));
        if !left.is_empty() && begin.elapsed() > limit {
            let what =
                format!("nobody holds {}, but no canary passes within {} s", list(left), limit.as_secs());
            return Err(FaultError::NotProven(what));
        }
    }
    Ok(passed)
}
