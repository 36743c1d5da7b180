//! The database's file: its path, its mode, and whether it is still there.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::error::SqliteOpenError;
use crate::store::StoreError;

/// The database's files, and what was found there at the start.
#[derive(Clone)]
pub struct File(Arc<[(PathBuf, Identity)]>);

/// Device and inode.
type Identity = (u64, u64);

impl File {
    /// The log is there as long as anyone has the database open.
    pub fn at(path: &Path) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let files = [path.to_owned(), PathBuf::from(log)];
        files
            .into_iter()
            .map(|path| identity(&path).map(|identity| (path, identity)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// What is written to a file that was deleted or replaced is lost, and SQLite does not notice.
pub fn still_there(file: Option<&File>) -> Result<(), StoreError> {
    let Some(File(files)) = file else { return Ok(()) };
    let there = files.iter().all(|(path, expected)| identity(path).is_ok_and(|found| found == *expected));
    there
        .then_some(())
        .ok_or_else(|| StoreError::nothing_written("its file was deleted or replaced: restart the server"))
}

/// The path in a URL; none: in memory.
pub fn path(url: &str) -> Result<Option<PathBuf>, SqliteOpenError> {
    let rest = url.strip_prefix("sqlite:").ok_or(SqliteOpenError::Url)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if rest.contains(['?', '#']) || rest.is_empty() {
        return Err(SqliteOpenError::Url);
    }
    let path = percent_decode_str(rest).decode_utf8().map_err(|_| SqliteOpenError::Url)?;
    Ok((path != ":memory:").then(|| PathBuf::from(&*path)))
}

/// SQLite would make it readable by all. What it creates beside it has the file's own mode.
pub fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // To open it once more later would be a mistake: closing it then takes SQLite's locks away.
        _ => Ok(()),
    }
}
