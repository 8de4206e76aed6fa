//! Protocol values in the words of the scenario files.

use std::collections::BTreeSet;

use node::raft::{
    Append, AppendReply, Body, Core, Entry, Index, LogPosition, Membership, Message, NodeId, Payload,
};

/// A node: role, term, commit index, log.
pub(crate) fn node(core: &Core) -> String {
    let status = core.status();
    let entries =
        (status.base.index.0 + 1..=status.last.index.0).filter_map(|index| core.log().get(Index(index)));
    let log: Vec<String> = entries.map(entry).collect();
    let (role, term, commit) = (status.role, status.term.0, status.commit.0);
    format!("{role:?} term {term} commit {commit} [{}]", log.join(", "))
}

/// An entry: index, term, content.
pub(crate) fn entry(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Noop => "noop".into(),
        Payload::Command(command) => String::from_utf8_lossy(command),
        Payload::Members(members) => format!("members {}", describe_members(members)).into(),
    };
    format!("{}/{} {what}", entry.index.0, entry.term.0)
}

/// Voters, those before them during a change, learners: `1+2+3`, `1+2+3>1+2+4`, `1+2+3 learners 4`.
pub(crate) fn describe_members(members: &Membership) -> String {
    let list = |ids: &BTreeSet<NodeId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
    let mut text = list(members.voters());
    if members.is_joint() {
        text = format!("{}>{text}", list(members.outgoing()));
    }
    if !members.learners().is_empty() {
        text = format!("{text} learners {}", list(members.learners()));
    }
    text
}

pub(crate) fn position(position: LogPosition) -> String {
    format!("{}/{}", position.index.0, position.term.0)
}

/// A message, without its ends.
pub(crate) fn message(message: &Message) -> String {
    let what = match &message.body {
        Body::PreVote { last } => format!("pre-vote? log {}", position(*last)),
        Body::PreVoteReply { granted } => format!("pre-vote {}", yes(*granted)),
        Body::Vote { last, transferred: false } => format!("vote? log {}", position(*last)),
        Body::Vote { last, transferred: true } => format!("transferred vote? log {}", position(*last)),
        Body::VoteReply { granted } => format!("vote {}", yes(*granted)),
        Body::Append(body) => append(body),
        Body::AppendReply(AppendReply::Accepted { matched }) => format!("accepted to {}", matched.0),
        Body::AppendReply(AppendReply::Rejected { previous, hint }) => {
            format!("rejected {}, hint {}", previous.0, position(*hint))
        }
        Body::Heartbeat { commit, round } => format!("heartbeat commit {} round {}", commit.0, round.0),
        Body::HeartbeatReply { round } => format!("alive round {}", round.0),
        Body::Chunk(chunk) => format!(
            "snapshot of {}, {} of {} bytes from {}",
            position(chunk.last),
            chunk.data.len(),
            chunk.size_bytes,
            chunk.offset
        ),
        Body::ChunkReply { received, .. } => format!("has {received} bytes"),
        Body::TimeoutNow => "take over".to_owned(),
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
