//! The conformance kit passes an honest transport, finds every classic slip, and says what differed.

mod transport;

use std::collections::{BTreeMap, BTreeSet};

use midsession::conformance::{Case, JSON, Reply, cases};
use midsession::{Answer, AnySession};
use serde_json::{Value, json};
use strum::VariantArray;

use transport::{Slip, decide, exchange, read};

#[test]
fn an_honest_transport_passes() {
    for case in cases().unwrap() {
        let (reply, stored) = exchange(&case, None);
        case.judge(&reply).and_then(|()| case.judge_stored(stored.as_ref())).unwrap_or_else(|error| panic!("{error}"));
        let decision = decide(&case, &read(&case, None), None);
        assert_eq!(Answer::from(&decision).retry_after, case.expected.retry_after, "{}", case.name);
    }
}

#[test]
fn every_slip_is_found() {
    let cases = cases().unwrap();
    for slip in Slip::VARIANTS {
        let (mut by_reply, mut by_store) = (Vec::new(), Vec::new());
        for case in &cases {
            let (reply, stored) = exchange(case, Some(*slip));
            by_reply.extend(case.judge(&reply).err().map(|_| &case.name));
            by_store.extend(case.judge_stored(stored.as_ref()).err().map(|_| &case.name));
        }
        assert!(!by_reply.is_empty() || !by_store.is_empty(), "{slip:?} goes unnoticed");
        // A transport that is wrong throughout would prove nothing about the cases.
        let wrong_throughout = by_reply.len() == cases.len() || by_store.len() == cases.len();
        assert!(!wrong_throughout, "{slip:?} is no slip");
        assert_eq!(by_reply.is_empty(), slip.is_of_the_store(), "{slip:?} is seen in the replies to {by_reply:?}");
    }
}

#[test]
fn cases_cover_every_row_and_every_pair_of_rows() {
    let cases = cases().unwrap();
    let answered = |rows: &[u8]| cases.iter().any(|case| case.rows == rows);
    for row in 1..=9 {
        assert!(answered(&[row]), "row {row}");
    }
    // A comm type that is blank is not another one.
    for (row, later) in
        (1..=8).flat_map(|row| (row + 1..=8).map(move |later| (row, later))).filter(|pair| *pair != (1, 4))
    {
        assert!(answered(&[row, later]), "row {row} before row {later}");
    }
    for endpoint in ["/calls/", "/chats/"] {
        let of_comm_type = cases.iter().filter(|case| case.path.contains(endpoint));
        let rows: BTreeSet<u8> = of_comm_type.filter_map(|case| case.rows.first().copied()).collect();
        assert!(rows.is_superset(&BTreeSet::from([2, 5, 6, 7, 8, 9])), "{endpoint}: {rows:?}");
    }
}

#[test]
fn cases_cover_every_identifier_recorded_from_rails() {
    let cases = cases().unwrap();
    for (value, message) in crate::rails_require::recorded() {
        let body: Value = serde_json::from_str(&format!("{{\"identifier\":{value}}}")).unwrap();
        let mut answers = cases.iter().filter(|case| case.rows.len() == 1 && case.path.ends_with("/chats/42/end_user"));
        let case = answers.find(|case| serde_json::from_str::<Value>(&case.body).unwrap() == body);
        let message = if message == "not text" { "param is invalid: identifier" } else { message };
        let case = case.unwrap_or_else(|| panic!("no case for {value}"));
        assert_eq!(case.expected.body, format!("{{\"message\":\"{message}\"}}"), "{}", case.name);
    }
}

#[test]
fn cases_agree_with_themselves() {
    let cases = cases().unwrap();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name is given twice");
    for case in &cases {
        let Case { name, rows, rule, session, expected, .. } = case;
        assert!(case.path.ends_with(&format!("/{}/end_user", case.session_id())), "{name}");
        assert!(rule.starts_with(&format!("Row {}: ", rows[0])), "{name}");
        assert!(rows.is_sorted_by(|row, later| row < later), "{name}");
        assert_eq!(expected.status, [400, 400, 400, 404, 404, 400, 400, 400, 202][usize::from(rows[0]) - 1], "{name}");
        let rounded_up = expected.retry_after.map(|wait| wait.as_nanos().div_ceil(1_000_000_000));
        assert_eq!(expected.retry_after_secs.map(u128::from), rounded_up, "{name}");
        assert_eq!(rounded_up.is_some(), rows[0] == 8, "{name}");
        match (session, &expected.session) {
            (Some(before), Some(after)) if rows[0] == 9 => {
                assert_eq!(after.revision(), before.revision() + 1, "{name}");
                assert_eq!(after.last_linked_at(), Some(case.now), "{name}");
            }
            (before, after) => assert_eq!(before, after, "{name}"),
        }
    }
}

#[test]
fn cases_say_everything_in_full_for_readers_in_other_languages() {
    let file: BTreeMap<String, Value> = serde_json::from_str(JSON).unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["cases", "format"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    for case in file["cases"].as_array().unwrap() {
        let of_case = ["name", "rows", "rule", "session", "policy", "now", "path", "body", "expected"];
        assert_eq!(keys(case), of_case.map(str::to_owned).into(), "{}", case["name"]);
        assert_eq!(keys(&case["policy"]), ["interval", "scope"].map(str::to_owned).into(), "{}", case["name"]);
        let of_expected = ["status", "body", "retry_after", "retry_after_secs", "session"];
        assert_eq!(keys(&case["expected"]), of_expected.map(str::to_owned).into(), "{}", case["name"]);
        let stored = |session: &Value| serde_json::from_value::<Option<AnySession>>(session.clone()).unwrap();
        for session in [&case["session"], &case["expected"]["session"]] {
            assert_eq!(*session, json!(stored(session)), "{}: not as the crate writes it", case["name"]);
        }
    }
}

#[test]
fn a_mismatch_says_what_differed_and_shows_what_cannot_be_seen() {
    let case = cases().unwrap().into_iter().find(|case| case.name == "duplicate_on_a_chat").unwrap();
    let reply =
        Reply { status: 429, body: b"{\"message\": \"\xff\"}\r\n\xe2\x90\xa3\xc2\xa0".into(), retry_after_secs: None };
    assert_eq!(
        case.judge(&reply).unwrap_err().to_string(),
        r#"case duplicate_on_a_chat fails
  the rule: Row 8: a link inside the interval is a duplicate.
  the status: expected 400
  the status:      got 429
  the body: expected {"message":"Duplicate␣request:␣Please␣wait␣for␣the␣interval␣to␣expire"}
  the body:      got {"message":␣"\xff"}\r\n\u{2423}\u{a0}
  Retry-After: expected 20
  Retry-After:      got none"#
    );
    assert_eq!(
        case.judge_stored(None).unwrap_err().to_string().lines().last(),
        Some("  the stored session:      got null")
    );
}
