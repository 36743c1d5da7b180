use midsession::{CommType, Session};

// An active session has an end user that a link may still need; end it first.
fn main() {
    let session = Session::start(CommType::Chat);
    let _ = session.erase();
}
