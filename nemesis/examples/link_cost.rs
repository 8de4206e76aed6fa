//! What a link costs the nodes at its ends: `cargo run --release -p nemesis --example link_cost`.
//!
//! The same two threads talk over loopback and over a link that no fault holds, in turns: a byte to and fro, and as many bytes as
//! will go.

mod talk;

use std::error::Error;
use std::net::TcpListener;

use history::NodeId;
use nemesis::{Links, Registry};
use talk::{ROUNDS, answer_all, measure, print_medians};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let direct = listener.local_addr()?;
    std::thread::spawn(move || answer_all(&listener));
    let links = Links::new(Registry::default()).await?;
    let (from, to) = (NodeId("n1".to_owned()), NodeId("n2".to_owned()));
    let linked = links.listen_pair(&from, &to, direct).await?;
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (measured, address) in measured.iter_mut().zip([direct, linked]) {
            measured.push(tokio::task::spawn_blocking(move || measure(address)).await??);
        }
    }
    print_medians(&["loopback", "link"], &measured);
    Ok(())
}
