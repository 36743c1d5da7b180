//! Ids that the server makes: of sessions, and of requests.

use std::sync::Arc;

use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

/// An extension of a request that has a line in the log: its id there.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// For a request. Random enough not to be guessed, and in the order of time.
pub(crate) fn new_request_id(now: OffsetDateTime) -> String {
    in_order_of_time(now).to_string()
}

/// For a session: the same, as an index likes it, with the mark by which it is told from the id of a request.
pub(crate) fn new_session_id(now: OffsetDateTime) -> String {
    let mut bytes = in_order_of_time(now).into_bytes();
    let [.., high, low, _, _, _, _, _, _, _, _] = &mut bytes;
    (*high, *low) = MARK;
    Uuid::from_bytes(bytes).to_string()
}

/// Whether it is the id of a session that this server made. It is in no log, whoever sends it as what.
pub(crate) fn is_session_id(id: &Uuid) -> bool {
    let [.., high, low, variant, _, _, _, _, _, _, _] = id.as_bytes();
    (*high, *low) == MARK && variant >> 6 == 0b10
}

/// Version 8, whose other bits are free, and these 12.
const MARK: (u8, u8) = (0x85, 0xe5);

fn in_order_of_time(now: OffsetDateTime) -> Uuid {
    let seconds = now.unix_timestamp().try_into().unwrap_or_default();
    // Without a counter, which would take from the randomness.
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_sessions_are_told_from_those_of_requests_and_from_all_others() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let parse = |id: String| Uuid::try_parse(&id).unwrap();
        let session = parse(new_session_id(now));
        assert!(is_session_id(&session) && is_session_id(&parse(session.simple().to_string())), "{session}");
        assert_eq!((session.get_version_num(), session.get_variant()), (8, uuid::Variant::RFC4122));
        assert_ne!(new_session_id(now), new_session_id(now));
        assert!(new_session_id(now) < new_session_id(now + time::Duration::milliseconds(1)));
        for other in [parse(new_request_id(now)), Uuid::nil(), Uuid::max()] {
            assert!(!is_session_id(&other), "{other}");
        }
    }
}
