//! Ids that the server makes: of sessions, and of requests.

use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

/// Random enough not to be guessed, and in the order of time, as an index likes it.
pub(crate) fn new_id(now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp().try_into().unwrap_or_default();
    // Without a counter, which would take from the randomness.
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())).to_string()
}
