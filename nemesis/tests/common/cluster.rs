//! Real processes under a real guardian, which is this test binary executed again.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(unsafe_code, reason = "a guardian begins before the test harness starts threads")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use history::{Clock, NodeId, RunEvent};
use nemesis::guardian::{GuardianError, NodeCommand, serve};
use nemesis::{EventSink, Processes};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The variable that tells the test binary to be something else than a test.
pub(crate) const ROLE: &str = "SHAKEDOWN_TEST_ROLE";
const GUARDIAN: &str = "guardian";
/// The variable by which the processes of one test are found.
pub(crate) const MARK: &str = "SHAKEDOWN_TEST_MARK";

/// Executes one test of this binary in another role.
pub(crate) fn role_command(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(ROLE, role);
    command
}

pub(crate) fn guardian_command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, GUARDIAN);
    command
}

/// A guardian must not have a second thread, and the test harness has started one when it comes to a test.
#[used]
// SAFETY: the C library calls what is in this section with the process as it is at the beginning of `main`; the function
// uses nothing that the runtime sets up later.
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = {
    extern "C" fn begin() {
        if has_role(GUARDIAN) {
            serve();
        }
    }
    begin
};

pub(crate) fn has_role(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|given| given == role)
}

/// A guardian, a place for logs, and what was recorded.
pub(crate) struct Ground {
    pub(crate) processes: Arc<Processes>,
    pub(crate) events: mpsc::Receiver<RunEvent>,
    pub(crate) sink: EventSink,
    pub(crate) directory: TempDir,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::with(guardian_command()).await
    }

    /// With another guardian.
    pub(crate) async fn with(guardian: Command) -> Self {
        let (sender, events) = mpsc::channel(4096);
        let sink = EventSink::new(Clock::start(), sender);
        let processes = Processes::start(guardian, sink.clone()).await.unwrap();
        Self { processes, events, sink, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn log(&self, node: &NodeId) -> PathBuf {
        self.directory.path().join(format!("{node}.log"))
    }

    /// Adds a node that executes a program with arguments; the first argument is the program's name.
    pub(crate) async fn add(
        &self,
        node: &NodeId,
        program: &str,
        arguments: &[&str],
    ) -> Result<(), GuardianError> {
        self.add_with(node, program, arguments, &[]).await
    }

    /// The same with some variables in its environment.
    pub(crate) async fn add_with(
        &self,
        node: &NodeId,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, String)],
    ) -> Result<(), GuardianError> {
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let command = NodeCommand {
            executable: self.processes.open(program.as_ref()).await?,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: inherited_environment().into_iter().chain(given).collect(),
            directory: self.directory.path().to_owned(),
            stdout: self.log(node),
            stderr: self.log(node),
            account: None,
            clock: None,
        };
        self.processes.add(node.clone(), command);
        Ok(())
    }

    /// Adds a node that is a shell script.
    pub(crate) async fn add_shell(&self, node: &NodeId, script: &str) -> Result<(), GuardianError> {
        self.add(node, "/bin/sh", &["sh", "-c", script]).await
    }

    /// The next event that is of interest.
    pub(crate) async fn next_event(&mut self, wanted: impl Fn(&RunEvent) -> bool) -> RunEvent {
        crate::common::within(async {
            loop {
                let event = self.events.recv().await.expect("the sink is open");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }
}

fn inherited_environment() -> Vec<(String, String)> {
    [MARK, "PATH"].iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}
