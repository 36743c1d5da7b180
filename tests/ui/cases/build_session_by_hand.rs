use midsession::{CommType, Session};

fn main() {
    let _ = Session { revision: 7, ..Session::start(CommType::Chat) };
}
