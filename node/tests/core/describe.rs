//! Protocol values in the words of the scenario files.

use node::raft::{Append, AppendReply, Body, Core, Entry, Index, LogPosition, Message, Payload};

/// A node: role, term, commit index, log.
pub(crate) fn node(core: &Core) -> String {
    let status = core.status();
    let entries = (1..=status.last.index.0).filter_map(|index| core.log().get(Index(index)));
    let log: Vec<String> = entries.map(entry).collect();
    let (role, term, commit) = (status.role, status.term.0, status.commit.0);
    format!("{role:?} term {term} commit {commit} [{}]", log.join(", "))
}

/// An entry: index, term, content.
pub(crate) fn entry(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Noop => "noop".into(),
        Payload::Command(command) => String::from_utf8_lossy(command),
    };
    format!("{}/{} {what}", entry.index.0, entry.term.0)
}

fn position(position: LogPosition) -> String {
    format!("{}/{}", position.index.0, position.term.0)
}

/// A message, without its ends.
pub(crate) fn message(message: &Message) -> String {
    let what = match &message.body {
        Body::PreVote { last } => format!("pre-vote? log {}", position(*last)),
        Body::PreVoteReply { granted } => format!("pre-vote {}", yes(*granted)),
        Body::Vote { last } => format!("vote? log {}", position(*last)),
        Body::VoteReply { granted } => format!("vote {}", yes(*granted)),
        Body::Append(body) => append(body),
        Body::AppendReply(AppendReply::Accepted { matched }) => format!("accepted to {}", matched.0),
        Body::AppendReply(AppendReply::Rejected { previous, hint }) => {
            format!("rejected {}, hint {}", previous.0, position(*hint))
        }
        Body::Heartbeat { commit, round } => format!("heartbeat commit {} round {}", commit.0, round.0),
        Body::HeartbeatReply { round } => format!("alive round {}", round.0),
        Body::Outdated => "outdated".to_owned(),
    };
    format!("term {} {what}", message.term.0)
}

fn append(append: &Append) -> String {
    let entries: Vec<String> = append.entries.iter().map(entry).collect();
    let (previous, commit) = (position(append.previous), append.commit.0);
    format!("append after {previous} [{}] commit {commit}", entries.join(", "))
}

fn yes(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}
