//! What the README says is so: its table, its example, its commands and its links. It is the crate's page on docs.rs too.

use std::cell::{Cell, RefCell};
use std::path::Path;

use midsession::{Answer, AnySession, CommType, EndUserField, LinkError, RequiredParam, Session};

use crate::support::{NOW, POLICY};

// As the README has it, in its width.
#[rustfmt::skip]
mod endpoint;

const README: &str = include_str!("../README.md");

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

/// The row of the decision table.
#[track_caller]
fn row(number: u8) -> &'static str {
    let mut found = README.lines().filter(|line| line.starts_with(&format!("| {number} |")));
    let row = found.next().unwrap_or_else(|| panic!("no row {number}"));
    assert_eq!(found.next(), None, "row {number} stands once");
    row
}

#[test]
fn the_decision_table_says_what_the_code_answers() {
    for (number, errors) in rows() {
        let row = row(number);
        for error in errors {
            let answer = Answer::from(&error);
            assert!(row.contains(&format!("`{error}`")), "{row}: {error}");
            assert!(row.contains(&format!(" {} `", answer.status)), "{row}: {}", answer.status);
            assert!(row.contains(&format!("`{:?}`", error.kind())), "{row}: {:?}", error.kind());
        }
    }
    assert!(row(9).contains("202 `accepted`"));
}

#[test]
fn the_readme_names_the_commands_that_the_gate_runs() {
    assert!(README.contains("\ncargo run --example quickstart\n"));
    assert!(README.contains("The tests:\n\n```sh\ncargo test\n```\n"));
}

#[test]
fn the_readme_lists_every_feature() {
    for feature in manifest()["features"].as_table().unwrap().keys() {
        assert!(README.contains(&format!("\n| `{feature}` | ")), "{feature}");
    }
}

/// The definitions of links at the README's end, as label and path.
fn links() -> Vec<(&'static str, &'static str)> {
    let definitions = README.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    definitions.collect()
}

#[test]
fn every_link_of_the_readme_leads_to_a_file() {
    assert!(links().len() > 3);
    for (_, path) in links() {
        assert!(root().join(path).is_file(), "{path}");
    }
}

#[test]
fn every_link_of_the_readme_leads_somewhere_on_docs_rs_too() {
    let source = include_str!("../src/lib.rs");
    for (label, path) in links() {
        let on_docs_rs = format!("//! [{label}]: https://docs.rs/crate/midsession/latest/source/");
        let page = format!("//! [{label}]: crate::");
        let within = format!("#![doc = include_str!(\"../docs/{}.link.md\")]\n", label.trim_end_matches(".svg"));
        if let Some((_, rest)) = source.split_once(&on_docs_rs) {
            let packaged = rest.lines().next().unwrap();
            assert!(is_packaged(packaged), "{packaged}");
            assert_eq!(root().join(packaged).canonicalize().unwrap(), root().join(path).canonicalize().unwrap());
        } else {
            assert!([&page, &within].into_iter().any(|text| source.contains(text)), "{label}");
        }
    }
}

fn manifest() -> toml::Table {
    include_str!("../Cargo.toml").parse().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the package has this file: it is included, and in no package of its own.
fn is_packaged(path: &str) -> bool {
    let manifest = manifest();
    let included = manifest["package"]["include"].as_array().unwrap();
    let is_of_another = |folder: &Path| folder != Path::new("") && root().join(folder).join("Cargo.toml").exists();
    let is_included = included
        .iter()
        .filter_map(|pattern| pattern.as_str())
        .any(|pattern| pattern == format!("/{path}") || (pattern == "/*.md" && !path.contains('/')));
    is_included && !Path::new(path).ancestors().skip(1).any(is_of_another)
}

#[test]
fn the_pictures_on_docs_rs_are_those_of_the_readme() {
    for (label, link, picture) in [
        ("session.svg", include_str!("../docs/session.link.md"), include_str!("../docs/session.svg")),
        ("decision.svg", include_str!("../docs/decision.link.md"), include_str!("../docs/decision.svg")),
    ] {
        let encoded = link.strip_prefix(&format!("[{label}]: data:image/svg+xml,")).unwrap();
        assert_eq!(percent_decoded(encoded.trim_end()), picture, "run .ci/pictures");
    }
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(&part[..2], 16).unwrap());
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).unwrap()
}

#[test]
fn the_example_is_the_one_that_is_tested_here() {
    assert!(README.contains(&format!("```rust\n{}```\n", include_str!("readme/endpoint.rs"))));
}

/// One row, and how many of the next writes another server is ahead of.
struct Row {
    session: RefCell<AnySession>,
    lost_races: Cell<u32>,
}

impl endpoint::Store for Row {
    type Error = Unavailable;

    fn read(&self, id: &str) -> Result<Option<AnySession>, Unavailable> {
        if id == "unavailable" { Err(Unavailable) } else { Ok((id == "42").then(|| self.session.borrow().clone())) }
    }

    fn write(&self, id: &str, revision: u64, next: &AnySession) -> Result<bool, Unavailable> {
        assert_eq!((id, revision), ("42", self.session.borrow().revision()));
        let lost = self.lost_races.get() > 0;
        if lost {
            self.lost_races.set(self.lost_races.get() - 1);
        } else {
            self.session.replace(next.clone());
        }
        Ok(!lost)
    }
}

/// The database does not answer.
#[derive(Debug, PartialEq)]
struct Unavailable;

fn post(row: &Row, path: &str, body: &str) -> (u16, &'static str, Option<u64>) {
    let answer = endpoint::link_end_user(row, &POLICY, || NOW, path, body.as_bytes()).unwrap();
    (answer.status, answer.body, answer.retry_after_secs())
}

fn anonymous_chat() -> Row {
    Row { session: RefCell::new(Session::start(CommType::Chat).into()), lost_races: Cell::new(0) }
}

const PATH: &str = "/apps/api/v1/chats/42/end_user";
const BODY: &str = r#"{"identifier":"id-1"}"#;

#[test]
fn the_example_stores_an_accepted_link_and_refuses_the_next() {
    let row = anonymous_chat();
    assert_eq!(post(&row, PATH, BODY), (202, r#"{"message":"accepted"}"#, None));
    assert_eq!(row.session.borrow().end_user().map(|end_user| end_user.identifier().to_owned()), Some("id-1".into()));
    let (status, _, wait) = post(&row, PATH, BODY);
    assert_eq!((status, wait), (400, Some(30)));
    assert_eq!(row.session.borrow().revision(), 1);
}

#[test]
fn the_example_decides_again_after_a_lost_race() {
    let row = anonymous_chat();
    row.lost_races.set(3);
    assert_eq!(post(&row, PATH, BODY).0, 202);
    assert_eq!((row.lost_races.get(), row.session.borrow().revision()), (0, 1));
}

#[test]
fn the_example_gives_up_after_16_lost_races_and_passes_on_the_databases_error() {
    let row = anonymous_chat();
    row.lost_races.set(17);
    assert_eq!(post(&row, PATH, BODY), (503, r#"{"message":"try again"}"#, None));
    assert_eq!((row.lost_races.get(), row.session.borrow().revision()), (1, 0));
    let path = PATH.replace("42", "unavailable");
    assert_eq!(endpoint::link_end_user(&row, &POLICY, || NOW, &path, BODY.as_bytes()), Err(Unavailable));
}

#[test]
fn the_example_answers_an_unknown_session_and_what_is_not_json() {
    let row = anonymous_chat();
    let not_found = (404, r#"{"message":"Not Found"}"#, None);
    assert_eq!(post(&row, "/apps/api/v1/chats/42", BODY), not_found);
    assert_eq!(post(&row, "/apps/api/v1/chats/43/end_user", BODY), not_found);
    assert_eq!(post(&row, PATH, "{"), (400, r#"{"message":"body is not valid JSON"}"#, None));
    assert_eq!(row.session.borrow().revision(), 0);
}
