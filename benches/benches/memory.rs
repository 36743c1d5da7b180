//! What it all weighs, counted by the allocator. A program of its own, because counting would slow the others down.

use std::collections::HashMap;

use allocation_counter::measure;
use midsession::{AnySession, EndUser};
use midsession_benches::linked_chat;
use midsession_benches::scale::{NUMBERS, linked_sessions};

fn main() {
    println!("| bytes | |\n|---|---|");
    println!("| `size_of::<EndUser>()`, aim ≤ 24 | {} |", size_of::<EndUser>());
    println!("| `size_of::<AnySession>()`, aim ≤ 80 | {} |", size_of::<AnySession>());
    let mut session = None;
    let text = measure(|| session = Some(linked_chat())).bytes_current;
    println!("| the text of the sample's end user, in one buffer | {text} |");
    for n in NUMBERS {
        let mut sessions = HashMap::new();
        let bytes = measure(|| sessions = linked_sessions(n)).bytes_current;
        let sessions = i64::try_from(sessions.len()).expect("the map is small");
        println!("| a linked session in a map of {n} by `String`s of 36 bytes, all told | {} |", bytes / sessions);
    }
}
