//! Ids that the server makes: of sessions, and of requests.

use std::sync::Arc;

use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

/// An extension of a request that has a line in the log: its id there.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// Random enough not to be guessed, and in the order of time, as an index likes it.
pub(crate) fn new_id(now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp().try_into().unwrap_or_default();
    // Without a counter, which would take from the randomness.
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())).to_string()
}
