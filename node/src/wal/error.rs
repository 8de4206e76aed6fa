//! What can go wrong with the log, said so that an operator knows the next step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the write-ahead log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refused.
    #[error("cannot {operation} {}: {source}; check the disk and the permissions", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("{} is locked by another process; stop it, or give this node another data directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory was written by another node.
    #[error("{} belongs to node {found}, not to {expected}; give each node its own data directory", path.display())]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// The node in its header.
        found: String,
        /// This node.
        expected: String,
    },
    /// The file was written by another version of this server.
    #[error("{} has format version {found}, this server reads version {expected}; use a matching server", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version in its header.
        found: u32,
        /// The version of this server.
        expected: u32,
    },
    /// Durable data is damaged or missing.
    #[error(
        "{} is corrupt at offset {offset}: {reason}; acknowledged data may be lost, so this node will not start: \
         restore the data directory or replace the node", path.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// The operations that can fail, for messages of the form "cannot {operation} {path}".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    CreateDirectory,
    SyncDirectory,
    ListDirectory,
    Open,
    Lock,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
}

impl Op {
    /// Turns an error of the system into one that names the operation and the file.
    pub(crate) fn at(self, path: &Path) -> impl FnOnce(io::Error) -> WalError {
        move |source| WalError::Io { operation: self.verb(), path: path.to_owned(), source }
    }

    fn verb(self) -> &'static str {
        match self {
            Op::CreateDirectory => "create directory",
            Op::SyncDirectory => "sync directory",
            Op::ListDirectory => "list directory",
            Op::Open => "open",
            Op::Lock => "lock",
            Op::Read => "read",
            Op::Write => "write",
            Op::Sync => "sync",
            Op::Rename => "rename",
            Op::Remove => "remove",
        }
    }
}

/// A place in the log where something is wrong.
pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl fmt::Display) -> WalError {
    WalError::Corrupt { path: path.to_owned(), offset, reason: reason.to_string() }
}
