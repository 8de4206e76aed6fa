//! The thread that moves frames from cable to cable.
//!
//! It waits for all packet sockets at once and for the packet that is due next. Sending never waits: where a queue
//! is full, frames are lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::frame;
use super::path::{Delivery, Path};

/// Larger than any frame of a cable.
const FRAME_BYTES: usize = 64 << 10;
/// Frames of one host that are moved before it is looked at the others.
const BATCH_FRAMES: usize = 64;

/// A host at the switch.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: Ipv4Addr,
    /// The end of its cable.
    pub(super) cable: OwnedFd,
    /// What its packets go through, by the port that they go to; nothing is done to those that have no path.
    pub(super) paths: Vec<Option<Path>>,
}

/// A switch that is at work, until dropped.
#[derive(Debug)]
pub(super) struct Forwarding {
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Forwarding {
    pub(super) fn start(ports: Vec<Port>) -> io::Result<Self> {
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        let ended = end.try_clone()?;
        let queue = Queue::default();
        let worker = Worker { ports, queue };
        let thread =
            std::thread::Builder::new().name("switch".to_owned()).spawn(move || worker.run(&ended))?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // Fails for a counter that is about to overflow only.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // Who panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A packet that waits.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    release: Instant,
    /// Keeps those in order that are due at the same time.
    number: u64,
    source: usize,
    destination: usize,
    packet: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    next_number: u64,
}

impl Queue {
    fn push(&mut self, release: Instant, [source, destination]: [usize; 2], packet: Vec<u8>) {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push(Reverse(Waiting { release, number, source, destination, packet }));
    }

    fn next_release(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(first)| first.release)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Waiting> {
        if self.next_release()? > now {
            return None;
        }
        self.waiting.pop().map(|Reverse(first)| first)
    }
}

struct Worker {
    ports: Vec<Port>,
    queue: Queue,
}

impl Worker {
    fn run(mut self, end: &OwnedFd) {
        let mut buffer = vec![0; FRAME_BYTES];
        while let Some(readable) = self.wait(end) {
            self.deliver_due();
            for source in readable {
                self.forward_from(source, &mut buffer);
            }
        }
    }

    /// Waits for frames, or for a packet that is due; the ports that have frames, or `None` at the end.
    fn wait(&self, end: &OwnedFd) -> Option<Vec<usize>> {
        let mut sources: Vec<PollFd<'_>> =
            self.ports.iter().map(|port| PollFd::new(&port.cable, PollFlags::IN)).collect();
        sources.push(PollFd::new(end, PollFlags::IN));
        let left = self.queue.next_release().map(|release| release.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("invariant: the switch holds its descriptors: {error}"),
        }
        let has_something = |source: &PollFd<'_>| !source.revents().is_empty();
        let ended = sources.pop().is_some_and(|end| has_something(&end));
        let readable = sources.iter().enumerate().filter(|(_, source)| has_something(source));
        (!ended).then(|| readable.map(|(port, _)| port).collect())
    }

    fn forward_from(&mut self, source: usize, buffer: &mut [u8]) {
        for _ in 0..BATCH_FRAMES {
            // A cable whose host is gone has nothing to say.
            let received = recv(&self.ports[source].cable, &mut *buffer, RecvFlags::DONTWAIT);
            let Ok((length, _)) = received else { return };
            self.forward(source, &mut buffer[..length]);
        }
    }

    /// Frames to addresses that nobody has are lost, and so are broadcasts.
    fn forward(&mut self, source: usize, packet: &mut [u8]) {
        let address = frame::destination(packet);
        let destination = self.ports.iter().position(|port| Some(port.address) == address);
        let Some(destination) = destination else { return };
        let Some(path) = &mut self.ports[source].paths[destination] else {
            return self.send(destination, packet);
        };
        for delivery in path.admit(packet, Instant::now()) {
            match delivery {
                Delivery::AtOnce => self.deliver(source, destination, packet),
                Delivery::At(release) => self.keep(release, [source, destination], packet),
            }
        }
    }

    fn keep(&mut self, release: Instant, [source, destination]: [usize; 2], packet: &[u8]) {
        let path = self.ports[source].paths[destination].as_mut();
        if path.is_some_and(Path::begins_to_wait) {
            self.queue.push(release, [source, destination], packet.to_vec());
        }
    }

    fn deliver_due(&mut self) {
        let now = Instant::now();
        while let Some(Waiting { source, destination, packet, .. }) = self.queue.pop_due(now) {
            let path = self.ports[source].paths[destination].as_mut();
            if path.is_some_and(|path| path.has_waited(&packet)) {
                self.deliver(source, destination, &packet);
            }
        }
    }

    fn deliver(&self, source: usize, destination: usize, packet: &[u8]) {
        self.send(destination, packet);
        if let Some(path) = &self.ports[source].paths[destination] {
            path.delivered(packet);
        }
    }

    fn send(&self, destination: usize, packet: &[u8]) {
        // Where there is no room it is lost.
        let _ = send(&self.ports[destination].cable, packet, SendFlags::DONTWAIT);
    }
}
