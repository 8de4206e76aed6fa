//! The guardian's own process: parent of every node, and the end of all of them.
//!
//! One thread waits for the control socket and for the ends of nodes. When the socket ends, for whatever reason,
//! every descendant is killed until none is left. The guardian is a child subreaper: whatever a node leaves behind
//! becomes its child, is counted to that node, and cannot escape.
//!
//! It does not restart anything, knows no faults, and trusts its orchestrator.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use history::NodeId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, set_child_subreaper, setsid, wait,
};

use super::descriptors;
use super::following::{Followed, Following};
use super::mounts::Mounts;
use super::networks::Networks;
use super::sys::{self, Launch};
use super::tree::{kill_descendants, own_pid, signal_until_stable};
use super::wire::{
    Call, Done, Executable, ExitStatus, LINE_LIMIT_BYTES, Message, NodeCommand, NodeSignal, Request,
};
use crate::clock::canary;
use crate::clock::trace::{self, Stop};
use crate::process::{self, Identity, Image, NODE_VARIABLE};

/// How often adopted processes that ended are looked for; ends of nodes are noticed at once.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(100);
/// How often the remains of a node are looked at until nothing is left of them.
const REMAINS_INTERVAL: Duration = Duration::from_millis(2);
/// How long a followed process waits at most, each time it stops.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(1);
/// How much is read from the control socket at once.
const READ_BYTES: usize = 64 << 10;

/// Runs the guardian on the control socket that is its standard input, and ends the process when that ends. Its standard
/// output is the socket over which it hands descriptors to the orchestrator.
///
/// A process that was started as a canary tells the time instead, and ends.
///
/// It must be called before the process starts a second thread: a parent-death signal fires when the *thread* ends
/// that forked.
pub fn serve() -> ! {
    canary::sing_if_asked();
    let served = Server::start().and_then(|mut server| server.run());
    match served {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("guardian: {error}");
            kill_descendants();
            std::process::exit(1)
        }
    }
}

/// A node whose end was not reported yet.
struct Node {
    identity: Identity,
    /// Becomes readable when the main process ends.
    end: OwnedFd,
    /// How the main process ended, while something of its tree may be left.
    status: Option<ExitStatus>,
    /// What was killed of its tree. A dying process loses its environment, by which it is known, before its sockets, so it
    /// is remembered until it is gone.
    dying: BTreeSet<Identity>,
    following: Option<Following>,
}

struct Program {
    image: Image,
    file: OwnedFd,
    is_script: bool,
}

struct Server {
    socket: UnixStream,
    inbox: Vec<u8>,
    programs: Vec<Program>,
    nodes: BTreeMap<NodeId, Node>,
    /// Where descriptors go.
    descriptors: UnixStream,
    mounts: Mounts,
    networks: Networks,
    /// Processes that stop and wait for the guardian at signals and programs.
    followed: BTreeSet<i32>,
}

impl Server {
    fn start() -> io::Result<Self> {
        // Fails for the leader of a process group, which then has its own terminal business; nodes begin sessions of
        // their own in any case.
        let _ = setsid();
        sys::ignore_terminal_signals();
        set_child_subreaper(Some(getpid()))?;
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let descriptors = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
        Ok(Self {
            socket,
            inbox: Vec::new(),
            programs: Vec::new(),
            nodes: BTreeMap::new(),
            descriptors,
            mounts: Mounts::default(),
            networks: Networks::default(),
            followed: BTreeSet::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.wait()? || self.receive()? {
            self.reap();
            self.bury();
        }
        self.end_all();
        Ok(())
    }

    /// Waits for something to do; says whether the socket has something to say.
    fn wait(&self) -> io::Result<bool> {
        let ended = self.nodes.values().any(|node| node.status.is_some());
        let interval = match ended {
            _ if !self.followed.is_empty() => FOLLOW_INTERVAL,
            true => REMAINS_INTERVAL,
            false => ORPHAN_INTERVAL,
        };
        let timeout = Timespec::try_from(interval).map_err(io::Error::other)?;
        let alive = self.nodes.values().filter(|node| node.status.is_none());
        let mut sources = vec![PollFd::new(&self.socket, PollFlags::IN)];
        sources.extend(alive.map(|node| PollFd::new(&node.end, PollFlags::IN)));
        match poll(&mut sources, Some(&timeout)) {
            Ok(_) => Ok(!sources[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the socket holds and does it; `false` when the orchestrator is gone.
    fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; READ_BYTES];
        let count = match self.socket.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        };
        self.inbox.extend_from_slice(&chunk[..count]);
        while let Some(end) = self.inbox.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            let call: Call = serde_json::from_slice(&line)?;
            let result = self.answer(call.request);
            if !self.say(&Message::Reply { number: call.number, result }) {
                return Ok(false);
            }
        }
        if self.inbox.len() > LINE_LIMIT_BYTES { Err(io::ErrorKind::InvalidData.into()) } else { Ok(true) }
    }

    /// `false` when nobody listens any more.
    fn say(&mut self, message: &Message) -> bool {
        let mut line = serde_json::to_vec(message).expect("invariant: messages have string keys");
        line.push(b'\n');
        self.socket.write_all(&line).is_ok()
    }

    fn answer(&mut self, request: Request) -> Result<Done, String> {
        match request {
            Request::Open { path } => self.open(&path),
            Request::Spawn { node, command } => self.spawn(node, command),
            Request::Signal { node, signal } => self.signal(&node, signal),
            Request::Mount { target, by_helper } => {
                let (device, by) = self.mounts.mount(&target, by_helper)?;
                self.hand_over(&[device], Done::Mounted { target, by })
            }
            Request::Unmount { target } => self.mounts.unmount(&target).map(|()| Done::Unmounted),
            Request::Attach { host, address } => {
                let cable = self.networks.attach(host, address)?;
                self.hand_over(&[cable], Done::Attached)
            }
            Request::Sockets { host, transport, count } => {
                let sockets = self.networks.sockets(&host, transport, count)?;
                self.hand_over(&sockets, Done::Sockets)
            }
        }
    }

    /// They are sent before the answer, so that whoever gets the answer need not wait for them.
    fn hand_over(&self, opened: &[impl AsFd], done: Done) -> Result<Done, String> {
        let mut opened = opened.iter();
        let sent = opened.try_for_each(|opened| descriptors::send(&self.descriptors, opened.as_fd()));
        sent.map(|()| done).map_err(|error| format!("cannot hand over a descriptor: {error}"))
    }

    fn open(&mut self, path: &Path) -> Result<Done, String> {
        let refuse = |error: io::Error| format!("cannot open the executable {}: {error}", path.display());
        let file = File::open(path).map_err(refuse)?;
        let image = Image::of(&file.metadata().map_err(refuse)?);
        // A descriptor is held for good, and canaries open the same program again and again.
        let known = self.programs.iter().position(|program| program.image == image);
        if known.is_none() {
            let mut head = [0; 2];
            let is_script = file.read_exact_at(&mut head, 0).is_ok() && &head == b"#!";
            self.programs.push(Program { image, file: file.into(), is_script });
        }
        let number = u32::try_from(known.unwrap_or(self.programs.len() - 1));
        Ok(Done::Opened { executable: Executable(number.expect("invariant: a process has few descriptors")) })
    }

    fn spawn(&mut self, node: NodeId, command: NodeCommand) -> Result<Done, String> {
        if let Some(present) = self.nodes.get(&node) {
            return Err(format!("{node} is running already: {}", present.identity));
        }
        let following = command.clock.clone().map(|clock| Following { clock, log: command.stderr.clone() });
        let account = command.account;
        let launch = self.launch(&node, command)?;
        following.as_ref().map_or(Ok(()), |following| following.prepare(account))?;
        let pid = sys::spawn(&launch)?;
        if let Some(following) = &following {
            let began =
                following.started(pid).map_err(|e| format!("cannot be given clocks of its own: {e}"))?;
            if began == Followed::Yes {
                self.followed.insert(pid.as_raw_pid());
            }
        }
        // The child was not waited for, so its pid is still its own, even if it ended already.
        let identity = process::identity(pid.as_raw_pid()).ok_or("the new process is not in /proc")?;
        let end =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|e| format!("cannot watch {identity}: {e}"))?;
        let dying = BTreeSet::new();
        self.nodes.insert(node.clone(), Node { identity, end, status: None, dying, following });
        Ok(Done::Spawned { node, identity })
    }

    fn launch(&self, node: &NodeId, command: NodeCommand) -> Result<Launch<'_>, String> {
        let program =
            self.programs.get(command.executable.0 as usize).ok_or("the executable was never opened")?;
        let append = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| format!("cannot open the log {}: {error}", path.display()))
        };
        let marks = [(NODE_VARIABLE.to_owned(), node.to_string())];
        let variables = command.environment.into_iter().chain(marks);
        Ok(Launch {
            program: &program.file,
            is_script: program.is_script,
            arguments: command.arguments.into_iter().map(c_string).collect::<Result<_, _>>()?,
            environment: variables
                .map(|(name, value)| c_string(format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            directory: command.directory,
            stdin: File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?,
            stdout: append(&command.stdout)?,
            stderr: append(&command.stderr)?,
            account: command.account,
            network: self.networks.of(node),
            followed: command.clock.is_some(),
        })
    }

    fn signal(&mut self, id: &NodeId, signal: NodeSignal) -> Result<Done, String> {
        let node = self.nodes.get_mut(id).ok_or_else(|| format!("{id} is not running"))?;
        let reached = signal_until_stable(signal.into(), || process::tree(id, node.identity.pid, own_pid()));
        let processes = reached.len();
        if signal == NodeSignal::Kill {
            node.dying.extend(reached);
        }
        Ok(Done::Signalled { processes })
    }

    /// Lets a followed process go on.
    fn follow(&mut self, pid: Pid, stop: Stop) {
        let raw = pid.as_raw_pid();
        self.followed.insert(raw);
        if stop != Stop::Exec {
            // Fails for those that were killed, who need nothing.
            let _ = trace::pass(pid, stop);
            return;
        }
        let owner = self
            .nodes
            .iter()
            .find(|(id, node)| node.identity.pid == raw || process::belongs(raw, id, node.identity.pid));
        let following = owner.and_then(|(_, node)| node.following.as_ref());
        let began = match following {
            Some(following) => following.began(pid),
            None => trace::let_go(pid).map(|()| Followed::No).map_err(|error| error.to_string()),
        };
        if began != Ok(Followed::Yes) {
            self.followed.remove(&raw);
        }
        if let (Some(following), Err(reason)) = (following, began) {
            following.complain(pid, &reason);
        }
    }

    /// Collects every child that ended: main processes of nodes, and whatever was adopted.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(stop) = Stop::of(status) {
                self.follow(pid, stop);
                continue;
            }
            self.followed.remove(&pid.as_raw_pid());
            let ended = self.nodes.values_mut().find(|node| node.identity.pid == pid.as_raw_pid());
            if let Some(node) = ended {
                node.status = Some(exit_status(status));
            }
        }
    }

    /// Kills what ended nodes left behind, and reports the end of a node once nothing of it is left: its ports are
    /// free and its files closed when the orchestrator hears of it.
    fn bury(&mut self) {
        let mut gone = Vec::new();
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.status.is_some()) {
            let strays = process::strays(id, node.identity.pid, own_pid());
            strays.iter().for_each(|process| _ = process.signal(Signal::KILL));
            node.dying.extend(strays);
            node.dying.retain(Identity::exists);
            if node.dying.is_empty() {
                gone.push(id.clone());
            }
        }
        gone.into_iter().for_each(|id| self.report_end(id));
    }

    fn report_end(&mut self, id: NodeId) {
        let Some(Node { identity, status: Some(status), .. }) = self.nodes.remove(&id) else { return };
        // A closed socket is noticed by the next read.
        let _ = self.say(&Message::Exited { node: id, identity, status });
    }

    /// The orderly and the disorderly end: both leave nothing.
    fn end_all(&mut self) {
        for (id, node) in &self.nodes {
            signal_until_stable(Signal::KILL, || process::tree(id, node.identity.pid, own_pid()));
        }
        while self.nodes.values().any(|node| node.status.is_none()) {
            self.reap();
            std::thread::sleep(REMAINS_INTERVAL);
        }
        kill_descendants();
        self.mounts.end();
        for id in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.report_end(id);
        }
    }
}

fn c_string(text: String) -> Result<CString, String> {
    CString::new(text).map_err(|error| format!("arguments and environment cannot hold a zero byte: {error}"))
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => ExitStatus::Signal(signal),
        (None, code) => ExitStatus::Code(code.unwrap_or_default()),
    }
}
