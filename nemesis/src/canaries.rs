//! Proof by canary: which links let bytes pass, and which do not.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fault::{FaultError, list};
use crate::links::Trial;
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
    send_bytes(links, over, 0, wait).await
}

/// The same with canaries of at least so many bytes.
pub(crate) async fn send_bytes(
    links: &Links,
    over: &[Link],
    bytes: usize,
    wait: Duration,
) -> io::Result<BTreeMap<Link, Option<Duration>>> {
    over_each(over, |link| {
        let links = links.clone();
        async move { links.probe_with(&link, bytes, wait).await }
    })
    .await
}

/// Sends so many numbered messages over each link at once; `None` for those whose connection did not come to its end in
/// time.
pub(crate) async fn send_messages(
    links: &Links,
    over: &[Link],
    messages: u64,
    wait: Duration,
) -> io::Result<BTreeMap<Link, Option<Trial>>> {
    over_each(over, |link| {
        let links = links.clone();
        async move { links.try_messages(&link, messages, wait).await }
    })
    .await
}

/// Closes the canaries of links at once; how long their receivers did not know, `None` for those that had no canary, or one
/// that did not end in order and in time.
pub(crate) async fn close(
    links: &Links,
    over: &[Link],
    wait: Duration,
) -> io::Result<BTreeMap<Link, Option<Duration>>> {
    over_each(over, |link| {
        let links = links.clone();
        async move { Ok(links.close_canary(&link, wait).await) }
    })
    .await
}

/// Does the same over each link at once.
async fn over_each<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
    over: &[Link],
    send: impl Fn(Link) -> F,
) -> io::Result<BTreeMap<Link, T>> {
    let mut sending = JoinSet::new();
    for link in over {
        let sent = send(link.clone());
        let link = link.clone();
        sending.spawn(async move { (link, sent.await) });
    }
    let mut results = BTreeMap::new();
    while let Some(sent) = sending.join_next().await {
        let (link, result) = sent.map_err(io::Error::other)?;
        results.insert(link, result?);
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
