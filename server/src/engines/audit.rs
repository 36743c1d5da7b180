//! The audit: a row for each accepted link, end and erasure, made with the change itself. Nothing of a person is in it.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::store::{ConditionalWrite, SessionChange};

/// Whether a store writes an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// It writes none. Where there is one, a line in the log warns that this server's changes are missing in it.
    #[default]
    Off,
    /// It writes one if its table is there: for a task beside servers.
    IfThere,
    /// It writes one, and makes its table if it is not there.
    On,
}

impl Audit {
    /// Whether rows are written, on a database that has the audit's table or has it not.
    pub fn is_written(self, is_there: bool) -> bool {
        self == Self::On || self == Self::IfThere && is_there
    }
}

/// One row.
pub struct AuditRow {
    pub revision: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The log's word.
    pub change: &'static str,
    pub client: Option<Arc<str>>,
    pub request_id: Option<Arc<str>>,
}

/// Those of a write. A start has none: it is no one's link.
pub fn rows(write: &ConditionalWrite) -> impl Iterator<Item = AuditRow> {
    write.changes.iter().filter_map(|change| {
        let word = match change.kind {
            SessionChange::Started => return None,
            SessionChange::Linked(link) => link.as_str(),
            SessionChange::Ended => "ended",
            SessionChange::Erased => "erased",
        };
        let (client, request_id) = (change.origin.client.clone(), change.origin.request_id.clone());
        Some(AuditRow {
            revision: change.revision.cast_signed(),
            at_ms: to_ms(change.at),
            change: word,
            client,
            request_id,
        })
    })
}

/// As the column has it.
pub fn to_ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The line of a server without an audit on a database that has one.
pub fn warn_of_gap() {
    tracing::warn!("the database has an audit, and this server's changes will be missing in it: start it with --audit");
}
