//! What a link costs the nodes at its ends: `cargo run --release -p nemesis --example link_cost`.
//!
//! The same two threads talk over loopback and over a link that no fault holds, in turns: a byte to and fro, and as many bytes as
//! will go.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use history::NodeId;
use nemesis::{Links, Registry};

/// How often both ways are measured.
const ROUNDS: usize = 7;
/// Round trips in a round.
const TRIPS: u32 = 5000;
/// Bytes sent in a round.
const BYTES: u64 = 256 << 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let direct = listener.local_addr()?;
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| _ = std::thread::spawn(|| answer(stream)))
    });
    let links = Links::new(Registry::default()).await?;
    let (from, to) = (NodeId("n1".to_owned()), NodeId("n2".to_owned()));
    let linked = links.listen_pair(&from, &to, direct).await?;
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (measured, address) in measured.iter_mut().zip([direct, linked]) {
            measured.push(tokio::task::spawn_blocking(move || measure(address)).await??);
        }
    }
    println!("{:<10} {:>16} {:>14}", "", "round trip, µs", "Gbit/s");
    for (name, measured) in ["loopback", "link"].iter().zip(&measured) {
        println!("{name:<10} {:>16.1} {:>14.1}", median(measured, 0), median(measured, 1));
    }
    Ok(())
}

fn median(measured: &[[f64; 2]], column: usize) -> f64 {
    let mut rounds: Vec<f64> = measured.iter().map(|row| row[column]).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Answers single bytes, and swallows what comes after a zero.
fn answer(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != [0] {
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
    let mut buffer = vec![0; 1 << 20];
    let mut left = BYTES;
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => left = left.saturating_sub(count as u64),
            _ => return,
        }
    }
    // Whoever measures is gone when this fails.
    let _ = stream.write_all(&[1]);
}

/// The median of a round trip in microseconds, and gigabits per second.
fn measure(address: SocketAddr) -> std::io::Result<[f64; 2]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut byte = [1];
    let mut trips: Vec<Duration> = Vec::new();
    for _ in 0..TRIPS {
        let begin = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        trips.push(begin.elapsed());
    }
    trips.sort();
    stream.write_all(&[0])?;
    let (block, begin) = (vec![7; 1 << 20], Instant::now());
    for _ in 0..BYTES >> 20 {
        stream.write_all(&block)?;
    }
    stream.read_exact(&mut byte)?;
    let gigabits = BYTES as f64 * 8.0 / 1e9 / begin.elapsed().as_secs_f64();
    Ok([trips[trips.len() / 2].as_secs_f64() * 1e6, gigabits])
}
