//! Two programs that talk over TCP: a byte to and fro, and as many bytes as will go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How often every way is measured.
pub(crate) const ROUNDS: usize = 7;
/// Round trips in a round.
const TRIPS: u32 = 5000;
/// Bytes sent in a round.
const BYTES: u64 = 256 << 20;

/// Answers everybody who dials, until the program ends.
pub(crate) fn answer_all(listener: &TcpListener) {
    listener.incoming().flatten().for_each(|stream| _ = std::thread::spawn(|| answer(stream)));
}

/// Prints a row for each way that was measured.
pub(crate) fn print_medians(names: &[&str], measured: &[Vec<[f64; 2]>]) {
    println!("{:<10} {:>16} {:>14}", "", "round trip, µs", "Gbit/s");
    for (name, measured) in names.iter().zip(measured) {
        println!("{name:<10} {:>16.1} {:>14.1}", median(measured, 0), median(measured, 1));
    }
}

/// The median of a column.
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
pub(crate) fn measure(address: SocketAddr) -> std::io::Result<[f64; 2]> {
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
