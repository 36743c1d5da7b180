use midsession::{Session, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Paused;

impl State for Paused {}

fn main() {
    let _: Option<Session<Paused>> = None;
}
