//! The HTTP client of a process: one connection, no proxy, no redirects, no retries, no reuse of doubtful connections.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};

use crate::outcome::Exchange;

/// The longest wait for a connection on loopback.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A client that sends each request at most once, and only where it is told to.
///
/// # Errors
/// When the client cannot be set up.
pub fn client(timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(1)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .build()
}

/// Sends, and reads the whole answer.
///
/// # Errors
/// The exchange, when there was no whole answer.
pub async fn exchange(request: RequestBuilder) -> Result<Answer, Exchange> {
    let response = request.send().await.map_err(|e| broken(&e))?;
    let status = response.status().as_u16();
    let leader = header(&response, "x-raft-leader");
    let body = response.bytes().await.map_err(|e| broken(&e))?;
    Ok(Answer { status, leader, body: body.to_vec() })
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The hint of a server that knows who leads (`x-raft-leader`).
    pub leader: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer as a rejection, with the beginning of its body as the reason.
    pub fn rejected(&self) -> Exchange {
        const SHOWN_CHARS: usize = 120;
        let text: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_CHARS).collect();
        Exchange::Rejected(self.status, text.trim().to_owned())
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn broken(error: &reqwest::Error) -> Exchange {
    if error.is_connect() {
        Exchange::NotConnected(innermost(error))
    } else if error.is_timeout() {
        Exchange::NoAnswer("timeout".to_owned())
    } else {
        Exchange::NoAnswer(innermost(error))
    }
}

/// The last cause: the operating system's words instead of a chain of wrappers.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
