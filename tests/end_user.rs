//! What an end user's fields may be, at every limit.

use midsession::testing::strategies;
use midsession::{EndUser, EndUserError, EndUserField, limits};
use proptest::prelude::*;
use validator::ValidateEmail;

use crate::model::is_email;
use crate::support::{assert_answer, end_user, link_new_chat};

const FIELDS: [EndUserField; 4] =
    [EndUserField::Identifier, EndUserField::Name, EndUserField::Email, EndUserField::Phone];

/// The end user with `text` in `field`, and what the field then says.
fn set(field: EndUserField, text: &str) -> Result<Option<String>, EndUserError> {
    let known = end_user("id-1");
    let end_user = match field {
        EndUserField::Identifier => EndUser::new(text),
        EndUserField::Name => known.with_name(text),
        EndUserField::Email => known.with_email(text),
        EndUserField::Phone => known.with_phone(text),
    }?;
    let text = match field {
        EndUserField::Identifier => Some(end_user.identifier()),
        EndUserField::Name => end_user.name(),
        EndUserField::Email => end_user.email(),
        EndUserField::Phone => end_user.phone(),
    };
    Ok(text.map(str::to_owned))
}

/// That `text` is accepted by the type, by a request and by deserialisation alike, or by none of them.
#[track_caller]
pub fn assert_acceptable(field: EndUserField, text: &str, acceptable: bool, reason: &str) {
    let expected = if acceptable { Ok(Some(text.to_owned())) } else { Err(EndUserError::Invalid(field)) };
    assert_eq!(set(field, text), expected, "{field} {text:?}: {reason}");
    let mut body = serde_json::json!({"identifier": "id-1"});
    body[field.to_string()] = text.into();
    let body = body.to_string();
    assert_eq!(serde_json::from_str::<EndUser>(&body).is_ok(), acceptable, "{body}: {reason}");
    let (status, message) =
        if acceptable { (202, "accepted".into()) } else { (400, format!("param is invalid: {field}")) };
    assert_answer(&link_new_chat(&body), status, &message);
}

#[test]
fn identifier_and_name_take_255_characters_of_any_width() {
    assert_eq!((limits::IDENTIFIER_MAX_CHARS, limits::NAME_MAX_CHARS), (255, 255));
    for field in [EndUserField::Identifier, EndUserField::Name] {
        for character in ["a", "é", "漢", "🙂"] {
            assert_acceptable(field, &character.repeat(255), true, "at most 255 characters");
            assert_acceptable(field, &character.repeat(256), false, "more than 255 characters");
        }
        assert_acceptable(field, &"🙂".repeat(100_000), false, "more than 255 characters");
    }
}

#[test]
fn email_takes_254_characters() {
    assert_eq!(limits::EMAIL_MAX_CHARS, 254);
    let address = |length: usize| {
        let labels = format!("{}.{}.{}.", "a".repeat(63), "b".repeat(63), "c".repeat(50));
        let user = "u".repeat(64);
        let rest = length - user.len() - 1 - labels.len();
        format!("{user}@{labels}{}", "d".repeat(rest))
    };
    assert_acceptable(EndUserField::Email, &address(254), true, "at most 254 characters");
    assert!(address(255).validate_email(), "the limit is ours, not validator's");
    assert_acceptable(EndUserField::Email, &address(255), false, "more than 254 characters");
    // An international domain: more bytes than characters.
    let long = |labels: usize| format!("{}@{}de", "u".repeat(64), "é.".repeat(labels));
    assert!(long(60).len() < 254 && long(60).chars().count() < 254);
    assert_acceptable(EndUserField::Email, &long(60), true, "at most 254 characters");
}

#[test]
fn phone_takes_64_characters_with_at_least_one_digit_of_any_script() {
    assert_eq!(limits::PHONE_MAX_CHARS, 64);
    for filler in ["-", "1", "٤", "🙂"] {
        assert_acceptable(EndUserField::Phone, &format!("1{}", filler.repeat(63)), true, "at most 64 characters");
        assert_acceptable(EndUserField::Phone, &format!("1{}", filler.repeat(64)), false, "more than 64 characters");
    }
    for phone in ["123-456-7890", "+49 (0)30 1234", "ext. 7", "0", "٤٢", "०", "Ⅶ", "½"] {
        assert_acceptable(EndUserField::Phone, phone, true, "a digit");
    }
    for phone in ["-", "none", "ext.", "🙂", "é"] {
        assert_acceptable(EndUserField::Phone, phone, false, "no digit");
    }
}

#[test]
fn no_field_takes_control_characters() {
    for field in FIELDS {
        for control in ['\0', '\u{1f}', '\n', '\u{7f}', '\u{80}', '\u{9f}'] {
            for text in [format!("1{control}@b.c"), format!("{control}1@b.c"), format!("1@b.c{control}")] {
                assert_acceptable(field, &text, false, "a control character");
            }
        }
    }
    assert_acceptable(
        EndUserField::Name,
        "a\u{200b}\u{ad}\u{a0}\u{202e}b",
        true,
        "format characters are no control characters",
    );
}

#[test]
fn a_blank_identifier_is_missing_and_a_blank_optional_field_is_absent() {
    for blank in ["", " ", "\t\n", "\u{a0}\u{2003}\u{85}"] {
        assert_eq!(EndUser::new(blank), Err(EndUserError::Missing));
        for field in [EndUserField::Name, EndUserField::Email, EndUserField::Phone] {
            assert_eq!(set(field, blank), Ok(None));
        }
        let known = end_user("id-1").with_name("John").unwrap();
        assert_eq!(known.with_name(blank).unwrap(), end_user("id-1"), "the last value of a field counts");
    }
}

#[test]
fn errors_say_what_is_wrong_and_what_would_do() {
    let messages = [
        (EndUserError::Missing, "`identifier` is missing: every end user has one"),
        (
            EndUserError::Invalid(EndUserField::Identifier),
            "`identifier` is invalid: expected text of at most 255 characters, without control characters",
        ),
        (
            EndUserError::Invalid(EndUserField::Name),
            "`name` is invalid: expected text of at most 255 characters, without control characters",
        ),
        (
            EndUserError::Invalid(EndUserField::Email),
            "`email` is invalid: expected an e-mail address of at most 254 characters, without control characters",
        ),
        (
            EndUserError::Invalid(EndUserField::Phone),
            "`phone` is invalid: expected a phone number of at most 64 characters with a digit, without control characters",
        ),
    ];
    for (error, message) in messages {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn stored_end_users_are_written_with_the_fields_there_are() {
    let whole = end_user("id-1").with_name("John").unwrap().with_email("a@b.c").unwrap().with_phone("1").unwrap();
    assert_eq!(
        serde_json::to_string(&whole).unwrap(),
        r#"{"identifier":"id-1","name":"John","email":"a@b.c","phone":"1"}"#
    );
    assert_eq!(serde_json::to_string(&end_user("id-1")).unwrap(), r#"{"identifier":"id-1"}"#);
}

#[test]
fn stored_end_users_that_break_a_rule_are_refused_with_the_field_named() {
    let refused = [
        ("{}", "`identifier` is missing"),
        ("null", "`identifier` is missing"),
        (r#"["id-1","John"]"#, "`identifier` is missing"),
        (r#"{"identifier":""}"#, "`identifier` is missing"),
        (r#"{"identifier":7}"#, "`identifier` is invalid"),
        (r#"{"identifier":"id-1","name":["x"]}"#, "`name` is invalid"),
        (r#"{"identifier":"id-1","email":"x"}"#, "`email` is invalid"),
        (r#"{"identifier":"id-1","phone":123}"#, "`phone` is invalid"),
        (r#"{"identifier":"id-1","name":"a","name":"b"}"#, "duplicate field `name`"),
    ];
    for (stored, error) in refused {
        let refusal = serde_json::from_str::<EndUser>(stored).unwrap_err().to_string();
        assert!(refusal.starts_with(error), "{stored}: {refusal}");
    }
}

proptest! {
    #[test]
    fn any_text_is_accepted_in_every_way_or_in_none((field, text) in field_and_text()) {
        let blank = text.chars().all(char::is_whitespace);
        if !blank {
            let acceptable = text.chars().count() <= field.max_chars()
                && !text.chars().any(char::is_control)
                && (field != EndUserField::Email || is_email(&text))
                && (field != EndUserField::Phone || text.chars().any(char::is_numeric));
            assert_acceptable(field, &text, acceptable, "any text");
        }
    }

    #[test]
    fn end_users_survive_storage(name in strategies::hostile_text(), phone in strategies::acceptable_text(EndUserField::Phone)) {
        let mut known = end_user("id-1");
        known = known.clone().with_name(&name).unwrap_or(known);
        known = known.clone().with_phone(&phone).unwrap_or(known);
        let stored = serde_json::to_string(&known).unwrap();
        prop_assert_eq!(serde_json::from_str::<EndUser>(&stored).unwrap(), known);
    }
}

/// A field, and text that is meant for this field or for another one, or for none.
fn field_and_text() -> impl Strategy<Value = (EndUserField, String)> {
    let field = || prop::sample::select(&FIELDS[..]);
    (field(), field(), any::<bool>()).prop_flat_map(|(field, other, is_own)| {
        let meant_for = if is_own { field } else { other };
        let text = prop_oneof![
            strategies::acceptable_text(meant_for),
            strategies::unacceptable_text(meant_for),
            strategies::hostile_text(),
        ];
        (Just(field), text)
    })
}
