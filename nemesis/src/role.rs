//! A command that is to be executed once more, by the guardian.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::guardian::{Executable, NodeCommand};

/// What a command says of itself.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Role {
    pub(crate) fn read(command: &Command) -> Self {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let variables = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?))));
        Self {
            program: command.get_program().into(),
            arguments: [command.get_program()].into_iter().chain(command.get_args()).map(text).collect(),
            environment: variables.collect(),
        }
    }

    /// The same as a command of the guardian's, with this executable opened.
    pub(crate) fn command(&self, executable: Executable) -> NodeCommand {
        let environment = self.environment.clone();
        NodeCommand { environment, ..NodeCommand::new(executable, self.arguments.clone()) }
    }
}
