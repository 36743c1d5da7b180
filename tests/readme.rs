//! The tables of the README and of the front page say what the code does.

use midsession::{Answer, CommType, EndUserField, LinkError, RequiredParam};

/// Each row's number with the errors that are its answers.
fn rows() -> [(u8, Vec<LinkError>); 8] {
    let wait = core::time::Duration::from_secs(1);
    [
        (1, vec![LinkError::MissingParam(RequiredParam::CommType)]),
        (2, vec![LinkError::MissingParam(RequiredParam::Identifier)]),
        (3, vec![LinkError::InvalidParam(EndUserField::Identifier)]),
        (4, vec![LinkError::NotFound]),
        (5, vec![LinkError::NotFound]),
        (6, vec![LinkError::AlreadyEnded(CommType::Call), LinkError::AlreadyEnded(CommType::Chat)]),
        (7, vec![LinkError::UnsupportedCrm]),
        (8, vec![LinkError::Duplicate { retry_after: wait }]),
    ]
}

/// The row of the decision table, which starts anew in each text.
#[track_caller]
fn row(text: &str, number: u8) -> &str {
    let starts = [format!("| {number} |"), format!("//! | {number} |")];
    let mut found = text.lines().filter(|line| starts.iter().any(|start| line.starts_with(start)));
    let row = found.next().unwrap_or_else(|| panic!("no row {number}"));
    assert_eq!(found.next(), None, "row {number} stands once");
    row
}

#[test]
fn both_decision_tables_say_what_the_code_answers() {
    for text in [include_str!("../README.md"), include_str!("../src/lib.rs")] {
        for (number, errors) in rows() {
            let row = row(text, number);
            for error in errors {
                let answer = Answer::from(&error);
                assert!(row.contains(&format!("`{error}`")), "{row}: {error}");
                assert!(row.contains(&format!(" {} `", answer.status)), "{row}: {}", answer.status);
                assert!(row.contains(&format!("`{:?}`", error.kind())), "{row}: {:?}", error.kind());
            }
        }
        assert!(row(text, 9).contains("202 `accepted`"));
    }
}

#[test]
fn the_readme_names_the_commands_that_the_gate_runs() {
    let readme = include_str!("../README.md");
    assert!(readme.contains("cargo run --example quickstart"));
    assert!(readme.contains("\ncargo test\n"));
}
