use midsession::{Active, Ended};
use time::OffsetDateTime;

fn main() {
    let _ = Active(());
    let _ = Ended { at: OffsetDateTime::UNIX_EPOCH };
}
