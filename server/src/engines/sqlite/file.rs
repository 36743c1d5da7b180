//! The database's file: its path, its mode, and whether it is still there.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::error::SqliteOpenError;
use crate::store::StoreError;

/// The database's file, its companions, and what was found there at the start.
#[derive(Clone)]
pub struct File(Arc<[(PathBuf, Identity)]>);

/// Device and inode.
type Identity = (u64, u64);

impl File {
    /// They are there as long as anyone has the database open. A server also has its lock.
    pub fn at(path: &Path, has_lock: bool) -> io::Result<Self> {
        let lock = has_lock.then(|| companion(path, "-lock"));
        let files = [path.to_owned(), companion(path, "-wal"), companion(path, "-shm")].into_iter().chain(lock);
        files.map(|path| identity(&path).map(|identity| (path, identity))).collect::<Result<_, _>>().map(Self)
    }
}

/// The file that stands beside the database under its name and `suffix`.
pub fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// What is written to a file that was deleted or replaced is lost, and SQLite does not notice.
pub fn still_there(file: Option<&File>) -> Result<(), StoreError> {
    let Some(File(files)) = file else { return Ok(()) };
    let there = files.iter().all(|(path, expected)| identity(path).is_ok_and(|found| found == *expected));
    there.then_some(()).ok_or_else(|| {
        StoreError::nothing_written("its file, or one beside it, was deleted or replaced: restart the server")
    })
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
