//! What a body may be: blanks of every kind, wrong types, no object at all, unknown and doubled fields.
//!
//! Blank values are tested in four places, because each finds other mistakes:
//! - here, as the bytes of every field: a mistake in how a body is read;
//! - in `rails_require`, by what Rails answered: a mistake in what this crate takes for blank;
//! - in `end_user`, as text without a request: a mistake in what may be stored;
//! - in `exhaustive`, as params beside every other class of input: a mistake in the order of the decision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use midsession::{CommType, LinkError, LinkRequest, Param};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::model;
use crate::support::{assert_answer, link_new_chat, request};

const FIELDS: [&str; 5] = ["comm_type", "identifier", "name", "email", "phone"];

fn field<'r>(request: &'r LinkRequest<'r>, name: &str) -> &'r Param<'r> {
    name.parse().map_or(&request.comm_type, |field| request.param(field))
}

#[test]
fn every_field_reads_every_blank_as_blank() {
    for blank in ["null", "\"\"", "\" \\t\\n\\u2003\\u0085\"", "{}", "[]", "[null]", "[null, null]"] {
        for name in FIELDS {
            let body = format!("{{\"{name}\":{blank}}}");
            assert_eq!(serde_json::from_str::<LinkRequest>(&body).unwrap(), LinkRequest::default(), "{body}");
        }
    }
}

#[test]
fn every_field_reads_anything_else_that_is_not_a_string_as_not_text() {
    let values = [
        "0",
        "-1",
        "1.5",
        "1e300",
        "18446744073709551616",
        "true",
        "false",
        "[\"a\"]",
        "[[]]",
        "[[null]]",
        "[{}]",
        "[null, 1]",
        "[\"\"]",
        "{\"a\":null}",
        "{\"a\":{\"b\":[1]}}",
        "[null, \"a\"]",
    ];
    for value in values {
        for name in FIELDS {
            let body = format!("{{\"{name}\":{value}}}");
            let request: LinkRequest = serde_json::from_str(&body).unwrap();
            assert_eq!(*field(&request, name), Param::NotText, "{body}");
        }
    }
}

/// The gate runs this with and without `serde_json/arbitrary_precision`: what is decided must not depend on it.
#[test]
fn a_number_that_no_64_bit_float_holds_is_an_error_where_it_is_read_and_nowhere_else() {
    for number in ["1e999", "-1e999", "1e309", &format!("{}.5", "9".repeat(400))] {
        for name in FIELDS {
            let body = format!("{{\"{name}\":{number}}}");
            let error = serde_json::from_str::<LinkRequest>(&body).unwrap_err().to_string();
            assert!(error.starts_with("number out of range"), "{body}: {error}");
            for inside in [format!("[{number}]"), format!("{{\"a\":{number}}}"), format!("[null,{{\"a\":[{number}]}}]")]
            {
                let body = format!("{{\"{name}\":{inside}}}");
                let request: LinkRequest = serde_json::from_str(&body).unwrap();
                assert_eq!(*field(&request, name), Param::NotText, "{body}");
            }
        }
        for unknown in [number.to_owned(), format!("[{number}]"), format!("{{\"a\":{number}}}")] {
            let body = format!("{{\"identifier\":\"id-1\",\"x\":{unknown}}}");
            assert!(!serde_json::from_str::<LinkRequest>(&body).unwrap().identifier.is_blank(), "{body}");
        }
    }
    for number in ["1e308", "-1.7976931348623157e308", "1e-999", "18446744073709551616", &"9".repeat(300)] {
        for name in FIELDS {
            let body = format!("{{\"{name}\":{number}}}");
            let request: LinkRequest = serde_json::from_str(&body).unwrap();
            assert_eq!(*field(&request, name), Param::NotText, "{body}");
        }
    }
}

#[test]
fn a_body_that_is_not_an_object_names_no_params() {
    for body in [
        "[]",
        "null",
        "\"x\"",
        "[\"chat\",\"abc\"]",
        "[\"chat\",\"abc\",\"n\",\"e\",\"1\"]",
        "1",
        "-1",
        "1.5",
        "true",
        "[[{}]]",
    ] {
        assert_eq!(serde_json::from_str::<LinkRequest>(body).unwrap(), LinkRequest::default(), "{body}");
        assert_answer(&link_new_chat(body), 400, "param is missing or the value is empty: identifier");
    }
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let body = r#"{"token":{"a":[1,{"b":null}]},"Identifier":"x","identifier":"id-1","identifier ":2,"":3}"#;
    assert_eq!(
        request(body),
        LinkRequest { comm_type: "chat".into(), identifier: "id-1".into(), ..Default::default() }
    );
}

#[test]
fn a_known_field_given_twice_is_refused_even_with_the_same_value_or_an_escaped_name() {
    for name in FIELDS {
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (first, second) in
            [("\"a\"", "\"b\""), ("\"a\"", "\"a\""), ("null", "\"a\""), ("\"a\"", "null"), ("1", "[]")]
        {
            for doubled in [name, &escaped] {
                let body = format!("{{\"{name}\":{first},\"x\":0,\"{doubled}\":{second}}}");
                let error = serde_json::from_str::<LinkRequest>(&body).unwrap_err().to_string();
                assert!(error.starts_with(&format!("duplicate field `{name}`")), "{body}: {error}");
            }
        }
    }
}

#[test]
fn bytes_that_are_not_json_are_an_error() {
    for body in [
        &b""[..],
        b"{",
        b"{\"identifier\":\"a\"",
        b"{'identifier':1}",
        b"\xff",
        b"{\"identifier\":\"\xff\"}",
        b"{}{}",
        b"[1",
    ] {
        assert!(serde_json::from_slice::<LinkRequest>(body).is_err(), "{body:?}");
    }
}

#[test]
fn deep_nesting_is_not_text_and_does_not_overflow_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        let body = format!("{{\"x\":{nested},\"identifier\":{nested}}}");
        assert_eq!(serde_json::from_str::<LinkRequest>(&body).unwrap().identifier, Param::NotText);
        let _named_or_not = serde_json::from_str::<LinkRequest>(&nested);
    }
}

#[test]
fn text_without_escapes_is_borrowed_from_the_body() {
    let request = request(r#"{"identifier":"id-1","name":"a\u0062c"}"#);
    assert!(matches!(request.identifier, Param::Text(Cow::Borrowed("id-1"))));
    assert!(matches!(request.name, Param::Text(Cow::Owned(name)) if name == "abc"));
}

#[test]
fn the_transports_comm_type_overrides_the_bodys_even_if_it_is_blank() {
    let body = r#"{"comm_type":"chat","identifier":"id-1"}"#;
    let request: LinkRequest = serde_json::from_str(body).unwrap();
    assert_eq!(request.comm_type, Param::from("chat"));
    assert_eq!(request.clone().with_comm_type(CommType::Call).comm_type, Param::from("call"));
    assert_eq!(request.with_comm_type(None::<&str>).comm_type, Param::Blank);
}

#[test]
fn other_self_describing_formats_read_the_same_without_positions() {
    let toml: LinkRequest = toml::from_str("identifier = 'id-1'\nname = []\nphone = 5\nemail = 1979-05-27").unwrap();
    assert_eq!(toml.identifier, Param::from("id-1"));
    assert_eq!((toml.name, toml.phone, toml.email), (Param::Blank, Param::NotText, Param::NotText));

    // serde's derive takes an integer for a field's position.
    let positions = ciborium::Value::Map(vec![(0.into(), "chat".into()), (1.into(), "id-1".into())]);
    let array = ciborium::Value::Array(vec!["chat".into(), "id-1".into()]);
    for no_names in [positions, array] {
        assert_eq!(no_names.deserialized::<LinkRequest>().unwrap(), LinkRequest::default());
    }
    let typed = ciborium::Value::Map(vec![
        ("identifier".into(), ciborium::Value::Bytes(b"id-1".to_vec())),
        ("name".into(), ciborium::Value::Integer(ciborium::value::Integer::from(u64::MAX))),
        ("phone".into(), ciborium::Value::Float(0.5)),
        (ciborium::Value::Bool(true), "x".into()),
    ]);
    let request: LinkRequest = typed.deserialized().unwrap();
    assert_eq!((request.identifier, request.name, request.phone), (Param::NotText, Param::NotText, Param::NotText));
}

#[test]
fn a_request_can_be_a_part_of_the_embedders_own_types() {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        tenant: &'a str,
        #[serde(borrow)]
        end_user: LinkRequest<'a>,
    }
    #[derive(Deserialize)]
    struct Flat<'a> {
        tenant: String,
        #[serde(borrow, flatten)]
        end_user: LinkRequest<'a>,
    }
    let envelope: Envelope =
        serde_json::from_str(r#"{"tenant":"t","end_user":{"identifier":"id-1","phone":7}}"#).unwrap();
    assert_eq!((envelope.tenant, envelope.end_user.identifier), ("t", Param::Text(Cow::Borrowed("id-1"))));
    let flat: Flat = serde_json::from_str(r#"{"tenant":"t","identifier":"id-1","phone":7,"name":{}}"#).unwrap();
    assert_eq!((flat.tenant.as_str(), flat.end_user.identifier), ("t", Param::Text(Cow::Borrowed("id-1"))));
    assert_eq!((flat.end_user.phone, flat.end_user.name), (Param::NotText, Param::Blank));
}

#[test]
fn a_value_in_memory_reads_like_the_text_it_came_from() {
    let value = serde_json::json!({"identifier": "id-1", "name": [null], "email": {}, "phone": 7});
    let request = LinkRequest::deserialize(&value).unwrap();
    assert_eq!(request.identifier, Param::from("id-1"));
    assert_eq!((request.name, request.email, request.phone), (Param::Blank, Param::Blank, Param::NotText));
}

#[test]
fn text_of_only_white_space_counts_as_blank_even_if_built_by_hand() {
    let blank = || Param::Text(" \u{3000}".into());
    assert!(blank().is_blank());
    assert_eq!(blank().as_text(), None);
    let mut request = request(r#"{"identifier":"id-1"}"#);
    (request.name, request.email, request.phone) = (blank(), blank(), blank());
    let session = midsession::Session::start(CommType::Chat).into();
    let accepted =
        midsession::apply_link(Some(&session), &request, &crate::support::POLICY, crate::support::NOW).unwrap();
    let linked = accepted.session().end_user().unwrap();
    assert_eq!((linked.name(), linked.email(), linked.phone()), (None, None, None));
    request.identifier = blank();
    assert_eq!(
        midsession::apply_link(Some(&session), &request, &crate::support::POLICY, crate::support::NOW),
        Err(LinkError::MissingParam(midsession::RequiredParam::Identifier)),
    );
}

#[test]
fn params_are_made_of_text_owned_text_and_options() {
    assert_eq!(Param::from("a"), Param::Text("a".into()));
    assert_eq!(Param::from(String::from("a")), Param::Text("a".into()));
    assert_eq!(Param::from(&String::from("a")), Param::Text("a".into()));
    assert_eq!(Param::from(Cow::Borrowed("a")), Param::Text("a".into()));
    assert_eq!(Param::from(Some("a")), Param::Text("a".into()));
    assert_eq!(Param::from(Some(String::from(" "))), Param::Blank);
    assert_eq!(Param::from(None::<&str>), Param::Blank);
    assert_eq!(Param::from(CommType::Call), Param::Text("call".into()));
}

/// Any JSON, with the published fields more often than chance would have them.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["\\PC{0,8}", "[ \t\u{a0}\u{2003}]{0,3}", "chat|call|id-1|a@b.c|12"].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = prop_oneof![4 => prop::sample::select(&FIELDS[..]).prop_map(str::to_owned), 1 => ".{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_reads_as_the_rule_says(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(serde_json::from_str::<LinkRequest>(&text).unwrap(), model::read_body(&value));
    }

    #[test]
    fn any_bytes_are_a_request_or_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(request) = serde_json::from_slice::<LinkRequest>(&bytes) {
            let _decision = midsession::apply_link(None, &request, &crate::support::POLICY, crate::support::NOW);
        }
    }
}
