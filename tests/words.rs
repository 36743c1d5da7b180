//! The enums of words: listed whole, written and read by the same word, and refused by name.

use core::fmt::Debug;
use core::str::FromStr;

use midsession::{
    CommType, CrmSupport, DuplicateScope, EndUserField, LinkChange, LinkError, LinkErrorKind, ParseWordError,
    RequiredParam,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// That the enum has these words, in this order, and reads and writes them, padded where a width is asked for.
#[track_caller]
fn assert_words<T>(all: &[T], words: &[&str])
where
    T: Copy + Debug + PartialEq + ToString + FromStr<Err = ParseWordError> + Into<&'static str>,
{
    let printed: Vec<String> = all.iter().map(T::to_string).collect();
    assert_eq!(printed, words);
    let converted: Vec<&str> = all.iter().map(|word| (*word).into()).collect();
    assert_eq!(converted, words);
    let read: Vec<T> = words.iter().map(|word| word.parse().unwrap()).collect();
    assert_eq!(read, all);
    for word in words {
        for wrong in [word.to_uppercase(), format!(" {word}"), format!("{word}\0"), String::new()] {
            assert!(wrong.parse::<T>().is_err(), "{wrong:?}");
        }
    }
}

#[test]
fn every_enum_of_words_is_listed_printed_and_read_back() {
    assert_words(CommType::ALL, &["call", "chat"]);
    assert_words(CrmSupport::ALL, &["supported", "unsupported"]);
    assert_words(DuplicateScope::ALL, &["session", "same_identifier"]);
    assert_words(EndUserField::ALL, &["identifier", "name", "email", "phone"]);
    assert_words(LinkChange::ALL, &["first", "unchanged", "refreshed", "relinked"]);
    let kinds = ["missing_param", "invalid_param", "not_found", "already_ended", "unsupported_crm", "duplicate"];
    assert_words(LinkErrorKind::ALL, &kinds);
    assert_words(RequiredParam::ALL, &["comm_type", "identifier"]);
}

#[test]
fn words_stand_in_the_order_of_their_list() {
    assert!(LinkChange::ALL.is_sorted());
    assert!(LinkErrorKind::ALL.is_sorted());
    assert!(EndUserField::ALL.is_sorted());
}

#[test]
fn words_and_messages_are_padded_to_a_width() {
    assert_eq!(format!("{:>6}|{:<6}|{:^6}", CommType::Chat, CommType::Chat, CommType::Chat), "  chat|chat  | chat ");
    assert_eq!(format!("{:.3}", LinkChange::Relinked), "rel");
    assert_eq!(format!("{:>10}|{:<10}", LinkError::NotFound, LinkError::NotFound), " Not Found|Not Found ");
}

#[test]
fn a_word_that_is_none_is_refused_with_the_words_that_would_do() {
    let errors = [
        ("x".parse::<CommType>().unwrap_err(), "`comm_type` is invalid: expected `call` or `chat`"),
        ("x".parse::<CrmSupport>().unwrap_err(), "`crm_support` is invalid: expected `supported` or `unsupported`"),
        ("x".parse::<DuplicateScope>().unwrap_err(), "`scope` is invalid: expected `session` or `same_identifier`"),
        (
            "x".parse::<LinkChange>().unwrap_err(),
            "`change` is invalid: expected `first`, `unchanged`, `refreshed` or `relinked`",
        ),
    ];
    for (error, message) in errors {
        assert_eq!(error.to_string(), message);
    }
}

/// That serde writes each word as text, and refuses anything else in the words of [`ParseWordError`].
#[track_caller]
fn assert_serde<T>(all: &[T])
where
    T: Copy + Debug + PartialEq + ToString + FromStr<Err = ParseWordError> + Serialize + DeserializeOwned,
{
    let refusal = "x".parse::<T>().unwrap_err().to_string();
    for word in all {
        let text = serde_json::to_string(word).unwrap();
        assert_eq!(text, format!("\"{}\"", word.to_string()));
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *word);
        for wrong in [text.to_uppercase(), format!("[{text}]"), format!("{{{text}:null}}")] {
            let error = serde_json::from_str::<T>(&wrong).unwrap_err();
            assert!(error.is_data() && error.to_string().starts_with(&refusal), "{wrong}: {error}");
        }
    }
    for wrong in ["5", "-5", "1.5", "true", "null", "\"\""] {
        let error = serde_json::from_str::<T>(wrong).unwrap_err();
        assert!(error.is_data() && error.to_string().starts_with(&refusal), "{wrong}: {error}");
    }
}

#[test]
fn words_are_read_by_serde_as_they_are_written_and_refused_by_name() {
    assert_serde(CommType::ALL);
    assert_serde(CrmSupport::ALL);
    assert_serde(DuplicateScope::ALL);
    assert_serde(EndUserField::ALL);
    assert_serde(LinkChange::ALL);
    assert_serde(LinkErrorKind::ALL);
    assert_serde(RequiredParam::ALL);
}

#[test]
fn broken_json_in_a_words_place_is_an_error_of_the_format() {
    for broken in ["\"supp", "supported", "", "nul", "\"a\\", "-", "\"\\u12\""] {
        let error = serde_json::from_str::<CrmSupport>(broken).unwrap_err();
        assert!(error.is_syntax() || error.is_eof(), "{broken}: {error}");
    }
}

#[test]
fn a_word_is_read_from_a_format_that_cannot_tell_a_values_shape() {
    let bytes = postcard::to_allocvec(&CommType::Chat).unwrap();
    assert_eq!(postcard::from_bytes::<CommType>(&bytes).unwrap(), CommType::Chat);
}
