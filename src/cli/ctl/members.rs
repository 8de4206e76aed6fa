//! Who is there, who leads, and changes of that.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::nodes::{Answer, Kind, NoAnswer, Nodes, accepted, refused};
use crate::cli::Failure;
use crate::exit;

/// A new member, and where it receives messages.
#[derive(Clone, Debug)]
pub(super) struct Newcomer {
    id: String,
    address: Option<SocketAddr>,
}

pub(super) fn newcomer(text: &str) -> Result<Newcomer, String> {
    let Some((id, address)) = text.split_once('=') else {
        return Ok(Newcomer { id: text.to_owned(), address: None });
    };
    let parsed = address.parse().map_err(|_| format!("`{address}` is no address such as 127.0.0.1:7004"))?;
    Ok(Newcomer { id: id.to_owned(), address: Some(parsed) })
}

#[derive(Debug, Deserialize)]
struct Members {
    voters: Vec<String>,
    outgoing: Vec<String>,
    learners: Vec<String>,
}

impl Members {
    fn has(&self, id: &str) -> bool {
        [&self.voters, &self.outgoing, &self.learners].into_iter().flatten().any(|member| member == id)
    }

    fn votes(&self, id: &str) -> bool {
        self.outgoing.is_empty() && self.voters.iter().any(|member| member == id)
    }
}

pub(super) async fn status(nodes: &Nodes, json: bool) -> anyhow::Result<u8> {
    let mut rows = Vec::new();
    for address in nodes.addresses() {
        let answer = nodes.ask(address, |http, at| http.get(format!("{at}/status"))).await;
        let status = answer.ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        rows.push((address, status));
    }
    if json {
        let rows: Vec<Value> =
            rows.iter().map(|(at, status)| json!({ "at": at, "status": status })).collect();
        println!("{}", json!(rows));
    } else {
        let columns = ["id", "role", "term", "leader", "commit", "applied", "revision"];
        println!("{:<28} {}", "at", columns.map(|column| format!("{column:<10}")).join(" ").trim_end());
        for (address, status) in &rows {
            let shown = match status {
                Some(status) => columns.map(|column| format!("{:<10}", cell(&status[column]))).join(" "),
                None => "does not answer".to_owned(),
            };
            println!("{address:<28} {}", shown.trim_end());
        }
    }
    Ok(if rows.iter().any(|(_, status)| status.is_some()) { exit::VALID } else { exit::INFRASTRUCTURE })
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The members as the leader has them.
async fn members(nodes: &Nodes) -> anyhow::Result<Value> {
    let leader = nodes.leader().await?;
    match nodes.ask(leader, |http, at| http.get(format!("{at}/members"))).await {
        Ok(answer) => accepted(&answer),
        Err(NoAnswer::NotConnected(why) | NoAnswer::Broken(why)) => {
            let message = format!("{leader} led a moment ago, and does not answer: {why}; try again");
            Err(Failure { code: exit::INFRASTRUCTURE, message }.into())
        }
    }
}

pub(super) async fn list(nodes: &Nodes, json: bool) -> anyhow::Result<u8> {
    let members = members(nodes).await?;
    if json {
        println!("{members}");
        return Ok(exit::VALID);
    }
    for (kind, name) in [("voters", "voter"), ("outgoing", "leaving voter"), ("learners", "learner")] {
        for id in members[kind].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let address = members["addresses"][id].as_str().unwrap_or("known from the start");
            println!("{id:<16} {name:<14} {address}");
        }
    }
    Ok(exit::VALID)
}

pub(super) async fn add(nodes: &Nodes, new: &Newcomer, json: bool) -> anyhow::Result<u8> {
    let answer = order(nodes, "members", &json!({ "add": { &new.id: new.address } })).await?;
    done(&answer, json, &format!("{} is a learner; `promote {}` lets it vote", new.id, new.id))
}

pub(super) async fn promote(nodes: &Nodes, id: &str, json: bool) -> anyhow::Result<u8> {
    let answer = change_when_possible(nodes, &json!({ "promote": [id] })).await?;
    done(&answer, json, &format!("{id} votes"))
}

pub(super) async fn remove(nodes: &Nodes, id: &str, json: bool) -> anyhow::Result<u8> {
    let answer = change_when_possible(nodes, &json!({ "remove": [id] })).await?;
    done(&answer, json, &format!("{id} is no member any more; its process may be stopped"))
}

/// Goes on where an earlier try ended.
pub(super) async fn replace(nodes: &Nodes, old: &str, new: &Newcomer, json: bool) -> anyhow::Result<u8> {
    let before: Members = serde_json::from_value(members(nodes).await?)?;
    let said = format!("{} votes in the place of {old}, whose process may be stopped", new.id);
    if before.votes(&new.id) && !before.has(old) {
        return done(&json!({ "changed": false }), json, &said);
    }
    if !before.has(old) {
        let message =
            format!("{old} is no member; `members` lists them, `add` and `promote` add without replacing");
        return Err(Failure { code: exit::USAGE, message }.into());
    }
    if !before.has(&new.id) {
        order(nodes, "members", &json!({ "add": { &new.id: new.address } })).await?;
    }
    let swap = if before.votes(&new.id) {
        json!({ "remove": [old] })
    } else {
        json!({ "promote": [new.id], "remove": [old] })
    };
    done(&change_when_possible(nodes, &swap).await?, json, &said)
}

pub(super) async fn transfer(nodes: &Nodes, id: Option<String>, json: bool) -> anyhow::Result<u8> {
    if let Some(id) = id.as_ref()
        && leader_id(nodes).await?.as_ref() == Some(id)
    {
        return done(&json!({ "transferred": false }), json, &format!("{id} leads already"));
    }
    let answer = order(nodes, "leader", &json!({ "to": id })).await?;
    done(&answer, json, "the old leader leads no longer")
}

async fn leader_id(nodes: &Nodes) -> anyhow::Result<Option<String>> {
    let leader = nodes.leader().await?;
    let answer = nodes.ask(leader, |http, at| http.get(format!("{at}/status"))).await.ok();
    let status = answer.map(|answer| accepted(&answer)).transpose()?;
    Ok(status.and_then(|status| status["id"].as_str().map(str::to_owned)))
}

async fn order(nodes: &Nodes, path: &str, body: &Value) -> anyhow::Result<Value> {
    accepted(&ordered(nodes, path, body).await?)
}

async fn ordered(nodes: &Nodes, path: &str, body: &Value) -> anyhow::Result<Answer> {
    nodes.ask_leader(Kind::Write, |http, at| http.post(format!("{at}/{path}")).json(body)).await
}

/// Orders a change, again and again while it is only too early for it.
async fn change_when_possible(nodes: &Nodes, change: &Value) -> anyhow::Result<Value> {
    loop {
        let answer = ordered(nodes, "members", change).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let is_early = matches!(body["reason"].as_str(), Some("behind" | "pending" | "too-early"));
        if !is_early {
            return accepted(&answer);
        }
        if !nodes.may_try_again().await {
            return Err(refused(&answer).context("gave up after --timeout"));
        }
    }
}

fn done(answer: &Value, json: bool, said: &str) -> anyhow::Result<u8> {
    if json {
        println!("{answer}");
    } else {
        println!("{said}");
    }
    Ok(exit::VALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomer_may_have_an_address() {
        let named = newcomer("n4=127.0.0.1:7004").expect("a newcomer");
        assert_eq!((named.id.as_str(), named.address), ("n4", "127.0.0.1:7004".parse().ok()));
        assert_eq!(newcomer("n4").expect("a newcomer").address, None);
        assert!(newcomer("n4=here").is_err());
    }
}
