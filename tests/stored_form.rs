//! The stored form: golden files for every state, and forged records refused with the field named.

use std::io::Read;

use midsession::testing::strategies;
use midsession::{AnySession, CommType, CrmSupport, EndUser, Session, apply_link};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::support::{EARLIEST, INTERVAL, LATEST, NOW, POLICY, assert_refused, end_user, request};

/// What an earlier release may have stored: an e-mail address and a phone number that today's rules refuse.
const FORMER_RULES: &str = include_str!("golden/active_linked_by_former_rules.json");

/// Each session with the file that holds its stored form. A file once written here must be readable for ever.
fn golden() -> [(AnySession, &'static str); 6] {
    let jane = end_user("unique_external_id").with_name("Jane Doé 🙂").unwrap();
    let jane = jane.with_email("jane@example.com").unwrap().with_phone("123-456-7890").unwrap();
    let at = datetime!(2026-11-22 13:00:00.000_000_001 +1);
    let linked =
        |end_user: &EndUser| Session::start(CommType::Chat).link(end_user, &POLICY, at).unwrap().into_session();
    let no_crm = Session::start(CommType::Call).with_crm_support(CrmSupport::Unsupported);
    [
        (Session::start(CommType::Call).into(), include_str!("golden/active_anonymous.json")),
        (no_crm.with_end_user(end_user("id-1")).into(), include_str!("golden/active_known_unsupported.json")),
        (linked(&jane).into(), include_str!("golden/active_linked.json")),
        (linked(&end_user("id-1")).into(), include_str!("golden/active_linked_identifier_only.json")),
        (AnySession::from(Session::start(CommType::Call)).end(NOW), include_str!("golden/ended_anonymous.json")),
        (linked(&jane).end(NOW).into(), include_str!("golden/ended_linked.json")),
    ]
}

#[test]
fn every_state_is_written_as_the_golden_files_have_it() {
    for (session, file) in golden() {
        assert_eq!(serde_json::to_string(&session).unwrap(), file.trim_end());
        let typed = match &session {
            AnySession::Active(session) => serde_json::to_string(session),
            AnySession::Ended(session) => serde_json::to_string(session),
        };
        assert_eq!(typed.unwrap(), file.trim_end(), "the typed session is written alike");
    }
}

#[test]
fn every_golden_file_is_read_back() {
    for (session, file) in golden() {
        assert_eq!(serde_json::from_str::<AnySession>(file).unwrap(), session);
    }
}

#[test]
fn order_spacing_nulls_and_unknown_fields_do_not_matter() {
    let stored = r#" { "revision": 0, "later": {"a": [1]}, "last_linked_at": null, "ended_at": null, "end_user": null,
        "crm_support": "supported", "comm_type": "call", "state": "active" } "#;
    assert_eq!(serde_json::from_str::<AnySession>(stored).unwrap(), Session::start(CommType::Call).into());
}

#[test]
fn a_session_survives_other_formats() {
    for (session, _) in golden() {
        let mut bytes = Vec::new();
        ciborium::into_writer(&session, &mut bytes).unwrap();
        assert_eq!(ciborium::from_reader::<AnySession, _>(&bytes[..]).unwrap(), session);
        let value = serde_json::to_value(&session).unwrap();
        assert_eq!(serde_json::from_value::<AnySession>(value).unwrap(), session);
        let toml = toml::to_string(&session).unwrap();
        assert_eq!(toml::from_str::<AnySession>(&toml).unwrap(), session);
    }
}

/// A linked, ended record with one field replaced (or left out, for the empty text).
fn forged(field: &str, value: &str) -> String {
    let fields = [
        ("state", "\"ended\""),
        ("comm_type", "\"chat\""),
        ("crm_support", "\"supported\""),
        ("end_user", "{\"identifier\":\"id-1\"}"),
        ("last_linked_at", "\"2026-11-22T12:00:00Z\""),
        ("ended_at", "\"2026-11-22T12:30:00Z\""),
        ("revision", "2"),
    ];
    assert!(fields.iter().any(|(name, _)| *name == field));
    let fields = fields.map(|(name, stored)| (name, if name == field { value } else { stored }));
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    format!("{{{}}}", fields.map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(","))
}

#[test]
fn a_required_field_left_out_or_blank_is_refused_by_name() {
    assert!(serde_json::from_str::<AnySession>(&forged("revision", "2")).is_ok());
    for field in ["state", "comm_type", "crm_support", "end_user", "ended_at"] {
        for blank in ["", "null"] {
            assert_refused(&forged(field, blank), &format!("`{field}` is missing from the stored session"));
        }
    }
    for blank in ["", "null"] {
        assert_refused(&forged("revision", blank), "`revision` is missing from the stored session");
    }
}

#[test]
fn a_field_of_the_wrong_kind_is_refused_by_name() {
    let values = ["7", "-1", "1.5", "true", "\"Ended\"", "\"x\"", "[1]", "[\"chat\"]", "{\"a\":1}"];
    for field in ["state", "comm_type", "crm_support", "last_linked_at", "ended_at"] {
        for value in values {
            assert_refused(&forged(field, value), &format!("`{field}` of the stored session is invalid"));
        }
    }
    for value in ["-1", "1.5", "\"2\"", "true", "[2]", "{}", "18446744073709551616"] {
        assert_refused(&forged("revision", value), "`revision` of the stored session is invalid");
    }
}

#[test]
fn a_revision_of_the_wrong_kind_is_refused_by_name_in_a_binary_format_too() {
    use ciborium::Value;

    let stored = serde_json::from_str::<serde_json::Map<_, _>>(&forged("revision", "2")).unwrap();
    let field =
        |(name, value): (&String, &serde_json::Value)| (name.as_str().into(), Value::serialized(value).unwrap());
    for wrong in [Value::from(-5550), Value::from(555.5), Value::from("5550"), Value::from(true), Value::Array(vec![])]
    {
        let mut fields: Vec<(Value, Value)> =
            stored.iter().filter(|(name, _)| *name != "revision").map(field).collect();
        fields.push(("revision".into(), wrong));
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(fields), &mut bytes).unwrap();
        let error = ciborium::from_reader::<AnySession, _>(&bytes[..]).unwrap_err().to_string();
        assert!(error.contains("`revision` of the stored session is invalid") && !error.contains("555"), "{error}");
    }
}

#[test]
fn a_time_that_is_not_rfc_3339_is_refused_by_name() {
    for time in ["2026-11-22", "2026-11-22T12:00:00", "2026-13-22T12:00:00Z", "yesterday", "+12026-11-22T12:00:00Z"] {
        for field in ["last_linked_at", "ended_at"] {
            assert_refused(
                &forged(field, &format!("\"{time}\"")),
                &format!("`{field}` of the stored session is invalid"),
            );
        }
    }
}

#[test]
fn an_invalid_end_user_is_refused_with_its_field_named() {
    let rule = "expected a phone number of at most 64 characters with a digit, without control characters";
    let long = format!("\"{}\"", "7".repeat(65));
    for phone in ["7", "\"7\\n\"", "[\"7\"]", &long] {
        let stored = forged("end_user", &format!("{{\"identifier\":\"id-1\",\"phone\":{phone}}}"));
        assert_refused(&stored, &format!("`end_user` of the stored session: `phone` is invalid: {rule}"));
    }
    for end_user in ["{}", "7", "\"id-1\"", "[\"chat\",\"id-1\"]", "{\"name\":\"John\"}"] {
        let error = "`end_user` of the stored session: `identifier` is missing: every end user has one";
        assert_refused(&forged("end_user", end_user), error);
    }
}

#[test]
fn what_was_stored_by_former_rules_of_others_is_read_kept_and_written_back() {
    let session: AnySession = serde_json::from_str(FORMER_RULES).unwrap();
    assert_eq!(serde_json::to_string(&session).unwrap(), FORMER_RULES.trim_end());
    let stored: serde_json::Value = serde_json::from_str(FORMER_RULES).unwrap();
    let input = serde_json::from_value::<EndUser>(stored["end_user"].clone()).unwrap_err().to_string();
    assert!(input.starts_with("`email` is invalid"), "an input is held to today's rules: {input}");

    let request = request(r#"{"identifier":"id-1","name":"Zoë"}"#);
    let refreshed = apply_link(Some(&session), &request, &POLICY, NOW + INTERVAL).unwrap().into_session();
    assert_eq!(refreshed.end_user().and_then(EndUser::email), Some("zoë@example.com"));
}

#[test]
fn broken_bytes_and_a_reader_that_fails_are_errors_of_that_kind() {
    let whole = forged("state", "\"ended\"");
    for end in 0..whole.len() {
        let error = serde_json::from_str::<AnySession>(&whole[..end]).unwrap_err();
        assert!(error.is_eof(), "{}: {error}", &whole[..end]);
        let error = serde_json::from_reader::<_, AnySession>(whole.as_bytes()[..end].chain(Failing)).unwrap_err();
        assert!(error.is_io(), "{}: {error}", &whole[..end]);
        let mut bytes = whole.as_bytes()[..end].to_vec();
        bytes.push(1);
        assert!(serde_json::from_slice::<AnySession>(&bytes).unwrap_err().is_syntax(), "{}", &whole[..end]);
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&serde_json::from_str::<AnySession>(&whole).unwrap(), &mut bytes).unwrap();
    for end in 0..bytes.len() {
        let error = ciborium::from_reader::<AnySession, _>(bytes[..end].chain(Failing)).unwrap_err();
        assert!(matches!(error, ciborium::de::Error::Io(_)), "{end}: {error:?}");
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn an_active_session_with_an_end_is_refused() {
    assert_refused(&forged("state", "\"active\""), "`ended_at` is set in the stored session, which is active");
}

#[test]
fn a_record_that_is_not_an_object_is_refused() {
    for record in ["null", "7", "\"active\"", "[]", "[\"active\",\"chat\",\"supported\",null,null,null,0]"] {
        assert_refused(record, "`state` is missing from the stored session");
    }
}

#[test]
fn a_field_given_twice_is_refused_by_name() {
    let stored = forged("revision", "2,\"state\":\"active\"");
    let error = serde_json::from_str::<AnySession>(&stored).unwrap_err().to_string();
    assert!(error.starts_with("duplicate field `state`"), "{error}");
}

/// A team's row with a column of the same name as one of the session's fields.
#[derive(Debug, Serialize, Deserialize)]
struct Nested {
    state: String,
    revision: u32,
    session: AnySession,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flattened {
    tenant: String,
    #[serde(flatten)]
    session: AnySession,
}

/// The same as [`Flattened`], with a column of a reserved name.
#[derive(Debug, Serialize, Deserialize)]
struct Clashing {
    state: String,
    #[serde(flatten)]
    session: AnySession,
}

#[test]
fn a_nested_session_survives_beside_columns_of_any_name() {
    for (session, _) in golden() {
        let row = Nested { state: "escalated".into(), revision: 7, session };
        let read: Nested = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert_eq!((read.state, read.revision, read.session), (row.state, row.revision, row.session));
    }
}

#[test]
fn a_flattened_session_survives_beside_columns_of_other_names() {
    for (session, _) in golden() {
        let row = Flattened { tenant: "acme".into(), session };
        let read: Flattened = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert_eq!((read.tenant, read.session), (row.tenant, row.session));
    }
}

#[test]
fn a_flattened_session_beside_a_reserved_name_is_written_but_cannot_be_read_as_documented() {
    let row = Clashing { state: "escalated".into(), session: Session::start(CommType::Chat).into() };
    let written = serde_json::to_string(&row).unwrap();
    assert_eq!(written.matches("\"state\"").count(), 2);
    let error = serde_json::from_str::<Clashing>(&written).unwrap_err().to_string();
    assert!(error.starts_with("duplicate field `state`"), "{error}");
}

#[test]
fn the_documentation_lists_every_reserved_name() {
    let documentation = include_str!("../src/session.rs");
    for (_, file) in golden() {
        let stored: serde_json::Map<String, serde_json::Value> = serde_json::from_str(file).unwrap();
        for name in stored.keys() {
            let page =
                documentation.split_once("reserved names:").map(|(_, page)| page.split_once("With such").unwrap().0);
            assert!(page.unwrap().contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn years_that_rfc_3339_has_no_digits_for_cannot_be_stored_and_say_so() {
    let ended = |at: OffsetDateTime| serde_json::to_string(&Session::start(CommType::Chat).end(at));
    assert!(ended(LATEST).unwrap().contains("\"ended_at\":\"9999-12-31T23:59:59.999999999Z\""));
    let error = ended(EARLIEST).unwrap_err().to_string();
    assert_eq!(error, "`ended_at` cannot be written in RFC 3339: its year must be 0 to 9999");
}

#[test]
fn a_moment_whose_utc_year_has_no_digits_is_written_in_its_own_offset() {
    for at in [datetime!(9999-12-31 23:30 -1), datetime!(0000-01-01 00:30 +1)] {
        let session = AnySession::from(Session::start(CommType::Chat).end(at));
        let stored = serde_json::to_string(&session).unwrap();
        assert_eq!(serde_json::from_str::<AnySession>(&stored).unwrap(), session, "{stored}");
    }
}

proptest! {
    #[test]
    fn what_was_stored_can_always_be_read(linked_at in strategies::moment_in_any_offset(), ended_at in strategies::moment_in_any_offset(), end in any::<bool>()) {
        let session = Session::start(CommType::Chat).link(&end_user("id-1"), &POLICY, linked_at).unwrap().into_session();
        let session = AnySession::from(session);
        let session = if end { session.end(ended_at) } else { session };
        if let Ok(stored) = serde_json::to_string(&session) {
            prop_assert_eq!(serde_json::from_str::<AnySession>(&stored).unwrap(), session);
        } else {
            let early = |at: Option<OffsetDateTime>| at.is_some_and(|at| at < datetime!(0000-01-02 00:00 UTC));
            prop_assert!(early(session.last_linked_at()) || early(session.ended_at()));
        }
    }
}
