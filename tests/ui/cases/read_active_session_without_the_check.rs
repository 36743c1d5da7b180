use midsession::{Active, Session};

fn main() {
    let _: Session<Active> = serde_json::from_str("{}").unwrap();
}
