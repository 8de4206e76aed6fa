//! What a switch costs the nodes that it joins: `cargo run --release -p nemesis --example switch_cost`.
//!
//! How long it takes to attach the nodes of a cluster; and two threads that talk over the loopback of a node, and over the switch,
//! in turns: a byte to and fro, and as many bytes as will go.

mod talk;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use history::{Clock, NodeId};
use nemesis::guardian::{NodeCommand, serve};
use nemesis::{EventSink, Links, Processes};
use talk::{ROUNDS, answer_all, measure, print_medians};
use tokio::sync::mpsc;

/// The nodes of the cluster whose set-up is measured.
const NODES: usize = 5;
const PORT: u16 = 20_010;
/// How long a measurement may take.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["guardian"] => serve(),
        ["answer", address] => answer_all(&TcpListener::bind(address)?),
        ["measure", address] => compare(address.parse()?)?,
        _ => tokio::runtime::Runtime::new()?.block_on(measure_all())?,
    }
    Ok(())
}

/// A node that measures.
fn compare(switched: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let loopback = listener.local_addr()?;
    std::thread::spawn(move || answer_all(&listener));
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (measured, address) in measured.iter_mut().zip([loopback, switched]) {
            measured.push(measure(address)?);
        }
    }
    print_medians(&["loopback", "switch"], &measured);
    Ok(())
}

async fn measure_all() -> Result<(), Box<dyn Error>> {
    let mut set_ups = Vec::new();
    for _ in 0..ROUNDS {
        let processes = start_processes().await?;
        let begin = Instant::now();
        Links::switched(&processes, &nodes(NODES), 0).await?;
        set_ups.push(begin.elapsed());
        processes.shutdown().await?;
    }
    set_ups.sort();
    println!("{NODES} nodes are attached in {:.0?}", set_ups[ROUNDS / 2]);
    let processes = start_processes().await?;
    let nodes = nodes(2);
    let links = Links::switched(&processes, &nodes, 0).await?;
    let address = SocketAddr::from((links.address(&nodes[0]).ok_or("n1 has no address")?, PORT)).to_string();
    let own = processes.open(&std::env::current_exe()?).await?;
    let output = std::env::temp_dir().join(format!("switch-cost-{}", std::process::id()));
    let command = |role: &str| NodeCommand {
        stdout: output.clone(),
        ..NodeCommand::new(own, ["switch_cost", role, &address].map(str::to_owned).to_vec())
    };
    processes.add(nodes[0].clone(), command("answer"));
    processes.launch(&nodes[0]).await?;
    // It has begun to listen long before the other has measured loopback.
    let measured = processes.execute(&nodes[1], command("measure"), LIMIT).await;
    print!("{}", std::fs::read_to_string(&output)?);
    std::fs::remove_file(&output)?;
    processes.shutdown().await?;
    match measured? {
        Some(status) if status.is_orderly() => Ok(()),
        status => Err(format!("the measuring node ended with {status:?}").into()),
    }
}

fn nodes(count: usize) -> Vec<NodeId> {
    (1..=count).map(NodeId::numbered).collect()
}

async fn start_processes() -> Result<std::sync::Arc<Processes>, Box<dyn Error>> {
    let mut guardian = Command::new(std::env::current_exe()?);
    guardian.arg("guardian");
    let (events, mut recorded) = mpsc::channel(16);
    tokio::spawn(async move { while recorded.recv().await.is_some() {} });
    Ok(Processes::start(guardian, EventSink::new(Clock::start(), events)).await?)
}
