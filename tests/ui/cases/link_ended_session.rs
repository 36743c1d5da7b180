use core::time::Duration;
use midsession::{CommType, DuplicatePolicy, EndUser, Session};
use time::OffsetDateTime;

fn main() {
    let now = OffsetDateTime::UNIX_EPOCH;
    let ended = Session::start(CommType::Chat).end(now);
    let end_user = EndUser::new("id-1").unwrap();
    let _ = ended.link(&end_user, &DuplicatePolicy::new(Duration::ZERO), now);
}
