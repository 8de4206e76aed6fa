//! The systems under test, one file each: how to start a node, how to talk to it, what it promises.
//!
//! A target makes no verdicts and starts no processes; it says with which arguments a node runs, and answers the
//! requests of the workloads.
//!
//! Start reading at [`target`], then [`raft`].

pub mod etcd;
pub mod raft;
pub mod target;

pub use target::{
    ClientOptions, Executable, Framing, Launch, Leadership, MembersFuture, Membership, NodeCommand,
    OperationFuture, Operator, Peer, Peering, Replica, StatusProbe, Target, all, find,
};
