//! A copy of the database while a server works on it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::error::SqliteOpenError;
use super::file::companion;

/// Copies the database to a new file `to`, as it is at this moment, and reads the copy to the end. Answers how many
/// sessions it has.
///
/// One statement reads one state of the database from its beginning to its end, however much is written meanwhile. The
/// copying of pages (SQLite's backup interface, `.backup`) begins again with each write of another process.
pub fn back_up(source: &Connection, to: &Path) -> Result<u64, SqliteOpenError> {
    if to.exists() {
        return Err(SqliteOpenError::BackupExists);
    }
    let partial = companion(&std::path::absolute(to)?, "-partial");
    let _ = fs::remove_file(&partial);
    let done = copy(source, &partial).and_then(|sessions| {
        fs::rename(&partial, to)?;
        // The name, too, is to outlast a crash of the machine.
        File::open(partial.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        Ok(sessions)
    });
    if done.is_err() {
        let _ = fs::remove_file(&partial);
    }
    done
}

fn copy(source: &Connection, partial: &Path) -> Result<u64, SqliteOpenError> {
    // SQLite would make it readable by all.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial)?;
    source.execute("VACUUM INTO ?1", [partial.to_str().ok_or(SqliteOpenError::Url)?])?;
    file.sync_all()?;
    let copy = Connection::open(partial)?;
    let said: String = copy.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if said != "ok" {
        return Err(SqliteOpenError::Damaged);
    }
    let count: i64 =
        copy.query_row("SELECT count(*) FROM sessions WHERE id NOT LIKE 'probe:%'", (), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}
