//! Where commands write a history: to a file, compressed when its name ends in `.gz`, or to the standard output (`-`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::usage;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replaced,
    /// It stays, and nothing is written; a new file that could not be finished is taken away.
    Kept,
}

/// Lets `content` write to `out`. `None` when whoever reads the standard output has seen enough.
pub(super) fn write<T>(
    out: &Path,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    if out != Path::new("-") {
        return to_file(out, existing, content).map(Some);
    }
    match content(&mut io::stdout().lock()) {
        Ok(written) => Ok(Some(written)),
        Err(error) if is_broken_pipe(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is said when `out` cannot be written.
pub(super) fn cannot_write(out: &Path) -> String {
    if out == Path::new("-") {
        "cannot write to the standard output".to_owned()
    } else {
        format!("cannot write {}", out.display())
    }
}

fn to_file<T>(
    out: &Path,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut file = create(out, existing)?;
    let written = if out.extension().is_some_and(|extension| extension == "gz") {
        let mut gzip = GzEncoder::new(file, Compression::fast());
        content(&mut gzip)
            .and_then(|written| gzip.finish().map(|_| written).with_context(|| cannot_write(out)))
    } else {
        content(&mut file)
    };
    if written.is_err() && existing == Existing::Kept {
        // Half a history looks like a whole one. If it cannot be taken away either, the error says enough.
        let _ = fs::remove_file(out);
    }
    written
}

fn create(out: &Path, existing: Existing) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    match existing {
        Existing::Replaced => options.create(true).truncate(true),
        Existing::Kept => options.create_new(true),
    };
    options.open(out).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            usage(format!("{} exists and is not overwritten; remove it, or name another file", out.display()))
        }
        _ => usage(format!("{}: {error}", cannot_write(out))),
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
