//! Why a run directory could not be rendered.

use std::io;
use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file that every run directory has cannot be read.
    #[error("cannot read {}: {source}; is this a run directory?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is not what it must be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The reason, with line and column.
        source: serde_json::Error,
    },
    /// An output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The metrics cannot be serialized.
    #[error("cannot make metrics.json: {0}")]
    Metrics(serde_json::Error),
    /// The JUnit file cannot be serialized.
    #[error("cannot make junit.xml: {0}")]
    Junit(quick_junit::SerializeError),
    /// The page cannot be rendered.
    #[error("cannot make report.html: {0}")]
    Html(askama::Error),
}
