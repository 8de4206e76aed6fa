//! The contents of data directories: how much there is, and how to have none.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use tokio::task::spawn_blocking;

/// How much a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    /// Files and everything else that is no directory.
    pub(crate) files: u64,
    /// What they say they are long.
    pub(crate) bytes: u64,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files of {} bytes", self.files, self.bytes)
    }
}

/// Removes everything in a directory, and returns what there was; the directory itself stays.
pub(crate) async fn empty(directory: &Path) -> io::Result<Contents> {
    blocking(directory, |directory| {
        let before = count(directory)?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(before)
    })
    .await
}

/// What a directory holds, with all directories below.
pub(crate) async fn contents(directory: &Path) -> io::Result<Contents> {
    blocking(directory, count).await
}

fn count(directory: &Path) -> io::Result<Contents> {
    let mut found = Contents::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            let below = count(&entry.path())?;
            found.files += below.files;
            found.bytes += below.bytes;
        } else {
            found.files += 1;
            found.bytes += metadata.len();
        }
    }
    Ok(found)
}

async fn blocking(
    directory: &Path,
    work: impl FnOnce(&Path) -> io::Result<Contents> + Send + 'static,
) -> io::Result<Contents> {
    let directory = directory.to_owned();
    spawn_blocking(move || work(&directory)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn emptied_directory_stays_and_says_what_it_held() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/b/log"), "12345").unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
        let held = empty(directory.path()).await.unwrap();
        assert_eq!(held, Contents { files: 2, bytes: 5 + "nowhere".len() as u64 });
        assert_eq!(contents(directory.path()).await.unwrap(), Contents::default());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
