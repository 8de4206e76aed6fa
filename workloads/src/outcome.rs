//! What an HTTP exchange means for the history. The only place where that is decided.
//!
//! * The connection could not be made: nothing was sent, so nothing happened.
//! * A definite rejection (4xx): nothing happened.
//! * Everything else after the first byte may have left is in doubt: an effect may have happened or may still happen; a
//!   read merely has no answer, and observes nothing.

use crate::Completion;

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// No connection was made.
    NotConnected(String),
    /// The connection broke, or the time was up, after something may have been sent.
    NoAnswer(String),
    /// An answer with this status came, and it is no success; with the server's reason.
    Rejected(u16, String),
    /// A success came whose body made no sense.
    Unreadable(String),
}

/// The completion of a request that was not answered with an understandable success.
pub fn completion(is_read: bool, exchange: Exchange) -> Completion {
    let (definite, why) = match exchange {
        Exchange::NotConnected(why) => (true, format!("not-connected: {why}")),
        Exchange::NoAnswer(why) => (false, format!("no-answer: {why}")),
        Exchange::Rejected(status, why) => (is_definite(status), format!("{status}: {why}")),
        Exchange::Unreadable(why) => (false, format!("unreadable: {why}")),
    };
    if definite || is_read { Completion::Fail(why) } else { Completion::Info(why) }
}

/// A client error other than "the request took too long" was decided before anything happened.
fn is_definite(status: u16) -> bool {
    (400..500).contains(&status) && status != 408
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_of_every_kind_of_exchange() {
        let why = || String::from("why");
        let table = [
            // exchange, a read becomes, a write becomes
            (Exchange::NotConnected(why()), "fail", "fail"),
            (Exchange::NoAnswer(why()), "fail", "info"),
            (Exchange::Rejected(400, why()), "fail", "fail"),
            (Exchange::Rejected(404, why()), "fail", "fail"),
            (Exchange::Rejected(408, why()), "fail", "info"),
            (Exchange::Rejected(412, why()), "fail", "fail"),
            (Exchange::Rejected(413, why()), "fail", "fail"),
            (Exchange::Rejected(421, why()), "fail", "fail"),
            (Exchange::Rejected(429, why()), "fail", "fail"),
            (Exchange::Rejected(500, why()), "fail", "info"),
            (Exchange::Rejected(502, why()), "fail", "info"),
            (Exchange::Rejected(503, why()), "fail", "info"),
            (Exchange::Rejected(504, why()), "fail", "info"),
            (Exchange::Rejected(302, why()), "fail", "info"),
            (Exchange::Unreadable(why()), "fail", "info"),
        ];
        let name = |completion| match completion {
            Completion::Ok(_) => "ok",
            Completion::Fail(_) => "fail",
            Completion::Info(_) => "info",
        };
        for (exchange, read, write) in table {
            assert_eq!(name(completion(true, exchange.clone())), read, "read after {exchange:?}");
            assert_eq!(name(completion(false, exchange.clone())), write, "write after {exchange:?}");
        }
    }
}
