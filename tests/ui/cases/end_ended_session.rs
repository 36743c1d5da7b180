use midsession::{CommType, Session};
use time::OffsetDateTime;

fn main() {
    let now = OffsetDateTime::UNIX_EPOCH;
    let ended = Session::start(CommType::Chat).end(now);
    let _ = ended.end(now);
}
