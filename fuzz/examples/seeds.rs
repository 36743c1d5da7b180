//! Writes the conformance kit's cases out as seeds: `cargo run --example seeds -- FOLDER`. Each folder in it is the corpus
//! of the fuzz target of that name.

use std::path::Path;
use std::{env, fs};

use midsession::testing::conformance;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args().nth(1).ok_or("name the folder to write to")?;
    for (at, case) in conformance::cases()?.iter().enumerate() {
        let session = serde_json::to_vec(&case.session)?;
        for (target, seed) in
            [("request", case.body.as_slice()), ("endpoint", case.path.as_bytes()), ("snapshot", &session)]
        {
            let corpus = Path::new(&folder).join(target);
            fs::create_dir_all(&corpus)?;
            fs::write(corpus.join(format!("kit-{at:03}")), seed)?;
        }
    }
    Ok(())
}
