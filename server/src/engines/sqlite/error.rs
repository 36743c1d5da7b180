//! What SQLite says, in words that repeat nothing of what is stored.

use std::io;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why an SQLite database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SqliteOpenError {
    /// The URL is of another form.
    #[error("its URL must be sqlite://FILE without parameters, or sqlite::memory:")]
    Url,
    /// The file may not be written, or its file system is mounted so.
    #[error("the file is read-only")]
    ReadOnly,
    /// SQLite cannot keep its write-ahead log here, as on some network file systems.
    #[error("SQLite cannot keep a write-ahead log in this folder")]
    NoLog,
    /// A later release of this server was here.
    #[error("its schema is newer than this server: start a later release")]
    Newer,
    /// Another server has the file.
    #[error("another server has this file: stop it first")]
    Taken,
    /// A server has the file, but the index of its log was deleted.
    #[error("the file beside it that ends in -shm was deleted: restart the server that has it first")]
    NoIndex,
    /// The file of a backup is there already.
    #[error("the file of the backup is already there: name another")]
    BackupExists,
    /// The database is damaged, and so is its copy.
    #[error("the copy is not whole, since the database is damaged: restore an earlier backup")]
    Damaged,
    /// A database in memory has no file to copy or to migrate.
    #[error("a database in memory has no file")]
    NoFile,
    /// There is no such version of the schema.
    #[error("this server has no such version of the schema")]
    NoSuchVersion,
    /// The server stops.
    #[error("the server stops")]
    Stopped,
    /// The file cannot be opened or created.
    #[error(transparent)]
    File(#[from] io::Error),
    /// SQLite refused.
    #[error("{}", cause(.0))]
    Sqlite(#[from] rusqlite::Error),
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Its own messages may repeat values; its codes, and what it calls them, do not.
pub(super) fn cause(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            let word = rusqlite::ffi::code_to_str(error.extended_code);
            format!("code {}, {}", error.extended_code, word.to_lowercase())
        }
        _ => "an answer of another form".to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called by `map_err`")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::new(cause(&error))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called by `map_err`")]
pub(super) fn nothing_written(error: rusqlite::Error) -> StoreError {
    StoreError::nothing_written(cause(&error))
}
