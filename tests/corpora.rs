//! The fuzz targets' corpora, replayed.

use std::fs;
use std::path::Path;

use crate::laws;

#[track_caller]
fn replay(target: &str, law: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for file in fs::read_dir(&corpus).unwrap() {
        law(&fs::read(file.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files >= 10, "{target} has a corpus of {files} files only");
}

#[test]
fn the_corpus_of_request_obeys_its_law() {
    replay("request", laws::request);
}

#[test]
fn the_corpus_of_sequence_obeys_its_law() {
    replay("sequence", laws::sequence);
}

#[test]
fn the_corpus_of_snapshot_obeys_its_law() {
    replay("snapshot", laws::snapshot);
}

#[test]
fn the_corpus_of_endpoint_obeys_its_law() {
    replay("endpoint", laws::endpoint);
}
