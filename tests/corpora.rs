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

#[test]
fn the_corpus_of_situation_obeys_its_law() {
    replay("situation", laws::situation);
}

#[test]
fn the_corpus_of_history_obeys_its_law() {
    replay("history", laws::history);
}

#[test]
fn the_corpus_of_policy_obeys_its_law() {
    replay("policy", laws::policy);
}

#[test]
fn the_corpus_of_words_obeys_its_law() {
    replay("words", laws::words);
}

#[test]
fn the_corpus_of_validate_obeys_its_law() {
    replay("validate", laws::validate);
}

#[test]
fn the_corpus_of_cbor_obeys_its_law() {
    replay("cbor", laws::cbor);
}
