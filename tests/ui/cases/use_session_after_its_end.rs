use midsession::{CommType, Session};
use time::OffsetDateTime;

fn main() {
    let active = Session::start(CommType::Chat);
    let _ended = active.end(OffsetDateTime::UNIX_EPOCH);
    let _ = active.revision();
}
