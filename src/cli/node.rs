//! `shakedown node`: one node of shakedown's own Raft server. The only file that names the crate `node`: to
//! everything else it is a black box with sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ctl, usage};
use crate::exit;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Talk to nodes that run: who is there, read, write, watch, change the members
    Ctl(ctl::Args),
}

/// The settings of a node.
#[derive(Debug, clap::Args)]
struct Serve {
    /// The name of this node
    #[arg(long)]
    id: String,
    /// The data directory, which it keeps for itself
    #[arg(long)]
    data: PathBuf,
    /// Where it listens for clients
    #[arg(long, value_name = "ADDR")]
    client: SocketAddr,
    /// Where it listens for peers
    #[arg(long, value_name = "ADDR")]
    peer: SocketAddr,
    /// By which address it reaches every node: n1=ADDR,n2=ADDR,…
    #[arg(long, value_name = "ID=ADDR,…", value_delimiter = ',', value_parser = member)]
    cluster: Vec<(String, SocketAddr)>,
    /// Waits to be added to a running cluster, instead of founding one with everybody in --cluster
    #[arg(long)]
    join: bool,
    /// A snapshot is made after so many applied entries, or 64 MiB of them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_entries: u64,
    /// The leader's heartbeat interval, in milliseconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_ms: u64,
    /// The shortest election timeout, in milliseconds; the longest is twice that
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(2..))]
    election_ms: u64,
    /// Appends what the protocol does to a file, for `shakedown check`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Answers linearizable reads from the leader's own state while a majority has promised to elect nobody else. Trusts that the
    /// clocks of any two nodes advance at rates that differ by at most 10 %; must be the same on all nodes, as --election-ms
    #[arg(long)]
    lease_reads: bool,
    /// A deliberately wrong variant (builds with `--features mutants`)
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
}

pub(super) fn main(args: Args) -> anyhow::Result<u8> {
    match (args.command, args.serve) {
        (Some(Command::Ctl(args)), _) => ctl::main(args),
        (None, Some(args)) => serve(args),
        (None, None) => Err(usage(
            "say how to run a node: --id, --data, --client, --peer, --cluster; or `node ctl --help`",
        )),
    }
}

fn serve(args: Serve) -> anyhow::Result<u8> {
    let mut cluster = BTreeMap::new();
    for (id, address) in args.cluster {
        if cluster.insert(id.clone(), address).is_some() {
            return Err(usage(format!("--cluster names {id} twice")));
        }
    }
    let options = node::Options {
        id: args.id,
        data: args.data,
        client: args.client,
        peer: args.peer,
        cluster,
        join: args.join,
        snapshot_entries: args.snapshot_entries,
        heartbeat: Duration::from_millis(args.heartbeat_ms),
        election: Duration::from_millis(args.election_ms),
        trace: args.trace,
        lease_reads: args.lease_reads,
        mutant: args.mutant,
    };
    node::run(options)?;
    Ok(exit::VALID)
}

fn member(text: &str) -> Result<(String, SocketAddr), String> {
    let (id, address) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form n1=127.0.0.1:7001"))?;
    let address = address.parse().map_err(|_| format!("`{address}` is no address such as 127.0.0.1:7001"))?;
    Ok((id.to_owned(), address))
}

/// The ids and titles of the deliberately wrong variants that this build has.
pub(super) fn mutants() -> &'static [(&'static str, &'static str)] {
    node::mutant_ids()
}

/// The ids of those variants that are not wrong, and must not be convicted.
pub(super) fn controls() -> &'static [&'static str] {
    node::control_ids()
}
