//! What operators do to the Raft server: hand leadership over, change the members.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use history::NodeId;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workloads::http::{self, Answer};

use super::Status;
use crate::target::{MembersFuture, Membership, OperationFuture, Operator, Peer};

/// A key that no workload uses.
const OWN_KEY: &str = "shakedown";

#[derive(Clone)]
pub(super) struct RaftOperator {
    pub(super) http: reqwest::Client,
}

#[derive(Deserialize)]
struct Members {
    voters: BTreeSet<NodeId>,
    outgoing: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
}

impl RaftOperator {
    async fn order(&self, node: SocketAddr, path: &str, body: &Value) -> Result<String, String> {
        let answer = send(self.http.post(format!("http://{node}/{path}")).json(body)).await?;
        expect_ok(&answer)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn get<T: DeserializeOwned>(&self, node: SocketAddr, path: &str) -> Result<T, String> {
        let answer = send(self.http.get(format!("http://{node}/{path}"))).await?;
        expect_ok(&answer)?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("/{path}: {error}"))
    }

    /// A linearizable read, which only a leader answers that a majority has just confirmed; anybody else says who leads.
    async fn confirm_leader(&self, node: SocketAddr) -> Result<Result<(), NodeId>, String> {
        let answer = send(self.http.get(format!("http://{node}/kv/{OWN_KEY}"))).await?;
        match (answer.status, &answer.leader) {
            (200 | 404, _) => Ok(Ok(())),
            (421, Some(leader)) => Ok(Err(NodeId(leader.clone()))),
            _ => Err(refusal(&answer)),
        }
    }

    /// Waits for nothing: what the leader has committed by now must have been applied by `follower`.
    async fn confirm_follower(&self, follower: &Peer, leader: &NodeId, nodes: &[Peer]) -> Result<(), String> {
        let leader = nodes.iter().find(|peer| peer.node == *leader);
        let leader = leader.ok_or("it follows a node that nobody knows")?;
        if self.confirm_leader(leader.client).await?.is_err() {
            return Err(format!("{} does not lead any more", leader.node));
        }
        let (commit, applied) = (
            self.get::<Status>(leader.client, "status").await?.commit,
            self.get::<Status>(follower.client, "status").await?.applied,
        );
        if applied < commit {
            return Err(format!("it has applied {applied} of {commit} committed entries"));
        }
        Ok(())
    }
}

impl Operator for RaftOperator {
    fn transfer(&self, leader: SocketAddr, to: &Peer) -> OperationFuture {
        let (operator, body) = (self.clone(), json!({ "to": to.node }));
        Box::pin(async move { operator.order(leader, "leader", &body).await })
    }

    fn operate(&self, operation: &str, _node: SocketAddr) -> OperationFuture {
        let refused = Err(format!("the Raft server knows no operation {operation:?}"));
        Box::pin(std::future::ready(refused))
    }
}

impl Membership for RaftOperator {
    /// A follower's list counts when it has applied everything that was committed when it was asked: its read index.
    fn members(&self, told_by: &Peer, nodes: &[Peer]) -> MembersFuture {
        let (operator, told_by, nodes) = (self.clone(), told_by.clone(), nodes.to_vec());
        Box::pin(async move {
            if let Err(leader) = operator.confirm_leader(told_by.client).await? {
                operator.confirm_follower(&told_by, &leader, &nodes).await?;
            }
            let Members { voters, outgoing, learners } = operator.get(told_by.client, "members").await?;
            Ok([voters, outgoing, learners].into_iter().flatten().collect())
        })
    }

    fn add(&self, asked: &Peer, member: &Peer) -> OperationFuture {
        let (operator, node) = (self.clone(), asked.client);
        // Every node knows every other by an address of its own.
        let body = json!({ "add": { member.node.to_string(): null } });
        Box::pin(async move { operator.order(node, "members", &body).await })
    }

    /// Only the leader takes the order; when that is the one to be removed, it is asked itself.
    fn remove(&self, asked: &Peer, member: &Peer) -> OperationFuture {
        let (operator, asked, member) = (self.clone(), asked.client, member.clone());
        Box::pin(async move {
            let leads = operator.confirm_leader(asked).await?.err() == Some(member.node.clone());
            let leader = if leads { member.client } else { asked };
            operator.order(leader, "members", &json!({ "remove": [member.node] })).await
        })
    }

    fn promote(&self, asked: &Peer, member: &Peer) -> OperationFuture {
        let (operator, node, member) = (self.clone(), asked.client, member.node.clone());
        Box::pin(async move {
            let Members { voters, outgoing, .. } = operator.get(node, "members").await?;
            if voters.contains(&member) && outgoing.is_empty() {
                return Ok(format!("{member} votes"));
            }
            operator.order(node, "members", &json!({ "promote": [member] })).await
        })
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, String> {
    http::exchange(request).await.map_err(|failed| format!("{failed:?}"))
}

fn expect_ok(answer: &Answer) -> Result<(), String> {
    if answer.status == 200 { Ok(()) } else { Err(refusal(answer)) }
}

fn refusal(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}
