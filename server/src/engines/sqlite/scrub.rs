//! Overwrites what SQLite leaves of data that is no longer stored.
//!
//! `secure_delete` overwrites each cell that is deleted, and each page that is freed. But when SQLite moves cells between
//! pages, their old bytes stay in the unallocated space of the page: the part between its list of cells and its cells, as
//! "Database File Format" (<https://www.sqlite.org/fileformat2.html>, 1.6) calls it. SQLite never reads that part, so it
//! can be overwritten in the file itself, while nobody else writes there:
//!
//! - the log is empty, so that no checkpoint has anything to move into the file;
//! - the write lock is held, so that nothing comes into the log;
//! - SQLite's memory of the pages is dropped afterwards, so that their old bytes do not come back with their next change.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

/// How many pages are overwritten while writers wait.
pub const PAGES_AT_ONCE: usize = 1000;
/// A leaf of a table, by its first byte: the kind of page that has records.
const LEAF: u8 = 0x0D;
/// Its cells are listed after its header of 8 bytes, with 2 bytes each.
const HEADER: usize = 8;
/// From here on the first byte of another kind of page, which is the first of a page's number, could be that of a leaf.
const PAGES_MAX: u64 = 0x0D00_0000;
/// How much of the file is read at once.
const CHUNK: usize = 256 * 1024;

/// The database's file, past SQLite. A clone is another handle of the same.
#[derive(Clone, Copy)]
pub struct Pages(&'static fs::File);

impl Pages {
    /// It is never closed: closing it would take SQLite's locks away, for all connections of the process.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self(Box::leak(Box::new(OpenOptions::new().read(true).write(true).open(path)?))))
    }

    /// The numbers of the pages whose unallocated space is not empty, the first page being 0. Others may write meanwhile.
    pub fn unclean(self) -> io::Result<Vec<u64>> {
        let Some(layout) = self.layout()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut chunk = vec![0; CHUNK.next_multiple_of(layout.page)];
        let pages_in_chunk = (chunk.len() / layout.page) as u64;
        for first in (0..layout.pages).step_by(chunk.len() / layout.page) {
            let pages = pages_in_chunk.min(layout.pages - first);
            let length = usize::try_from(pages).unwrap_or_default() * layout.page;
            let Some(read) = chunk.get_mut(..length) else { continue };
            match self.0.read_exact_at(read, first * layout.page as u64) {
                // It has become shorter.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            let is_unclean = |page: &[u8]| {
                let space = unallocated(page, layout.usable).and_then(|range| page.get(range));
                space.is_some_and(|space| space.iter().any(|byte| *byte != 0))
            };
            found
                .extend((first..).zip(read.chunks(layout.page)).filter(|(_, page)| is_unclean(page)).map(|(at, _)| at));
        }
        Ok(found)
    }

    /// Only while the log is empty and the write lock is held.
    fn overwrite(self, pages: &[u64]) -> io::Result<()> {
        let Some(layout) = self.layout()? else { return Ok(()) };
        let (mut page, zeros) = (vec![0; layout.page], vec![0; layout.page]);
        for &number in pages.iter().filter(|number| **number < layout.pages) {
            let start = number * layout.page as u64;
            self.0.read_exact_at(&mut page, start)?;
            if let Some(range) = unallocated(&page, layout.usable) {
                self.0.write_all_at(&zeros[..range.len()], start + range.start as u64)?;
            }
        }
        self.0.sync_data()
    }

    /// None: it is empty, or larger than can be told apart.
    fn layout(self) -> io::Result<Option<Layout>> {
        let length = self.0.metadata()?.len();
        let mut header = [0; 21];
        if length < header.len() as u64 {
            return Ok(None);
        }
        self.0.read_exact_at(&mut header, 0)?;
        let [.., high, low, _, _, reserved] = header;
        // 1 stands for 65,536.
        let page = match u16::from_be_bytes([high, low]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let pages = length.checked_div(page as u64).filter(|pages| *pages < PAGES_MAX);
        Ok(pages.map(|pages| Layout { page, usable: page.saturating_sub(reserved.into()), pages }))
    }
}

struct Layout {
    /// Bytes of a page.
    page: usize,
    /// Those that SQLite uses.
    usable: usize,
    pages: u64,
}

/// Where a leaf of a table has neither its header nor its list of cells nor its cells. The first page of the file has
/// another header before its own, and only the schema.
fn unallocated(page: &[u8], usable: usize) -> Option<Range<usize>> {
    let &[LEAF, _, _, cells_high, cells_low, content_high, content_low, ..] = page else { return None };
    let start = HEADER + 2 * usize::from(u16::from_be_bytes([cells_high, cells_low]));
    let end = match u16::from_be_bytes([content_high, content_low]) {
        0 => 65_536,
        end => usize::from(end),
    };
    (start <= end && end <= usable).then_some(start..end)
}

/// Overwrites the unallocated space of `pages`. False: another process wrote at the same time, and it is to be tried again.
pub fn overwrite(connection: &mut Connection, file: Pages, log: &Path, pages: &[u64]) -> rusqlite::Result<bool> {
    if !empty_log(connection)? {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
        return Ok(false);
    }
    let overwritten = file.overwrite(pages);
    transaction.rollback()?;
    connection.execute_batch("PRAGMA shrink_memory")?;
    overwritten.map(|()| true).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Moves all of the log into the file, and makes it empty. False: a reader still needs it.
pub fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
    Ok(busy == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_leaf_of_a_table_does_not_use_is_unallocated() {
        let mut page = vec![0xFF; 4096];
        page[..8].copy_from_slice(&[LEAF, 0, 0, 0, 3, 0x0F, 0x00, 0]);
        assert_eq!(unallocated(&page, 4096), Some(14..0x0F00));
        page[..8].copy_from_slice(&[LEAF, 0, 0, 0, 0, 0x10, 0x00, 0]);
        assert_eq!(unallocated(&page, 4096), Some(8..4096));
        for damaged in [
            [0x05, 0, 0, 0, 3, 0x0F, 0x00, 0],
            [0x0A, 0, 0, 0, 3, 0x0F, 0x00, 0],
            [0x00, 0, 0, 0, 3, 0x0F, 0x00, 0],
            [LEAF, 0, 0, 0xFF, 3, 0x0F, 0x00, 0],
            [LEAF, 0, 0, 0, 3, 0x10, 0x01, 0],
            [LEAF, 0, 0, 0, 3, 0x00, 0x00, 0],
        ] {
            page[..8].copy_from_slice(&damaged);
            assert_eq!(unallocated(&page, 4096), None, "{damaged:?}");
        }
        assert_eq!(unallocated(&[LEAF, 0], 4096), None);
    }
}
