//! What the integration tests share: waiting for conditions with a bound.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::time::Duration;

use history::NodeId;

/// Longer than anything takes on a starved machine; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until a condition holds, and fails the test when it does not.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    assert!(holds(condition).await, "never happened: {what}");
}

/// Waits until a condition holds; `false` when it does not.
pub(crate) async fn holds(condition: impl Fn() -> bool) -> bool {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::time::sleep(INTERVAL).await;
        }
    });
    waited.await.is_ok()
}

/// Waits for a future that must become ready.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("took too long")
}

pub(crate) fn n(i: usize) -> NodeId {
    NodeId::numbered(i)
}
