//! The policy as a config file has it.

use core::time::Duration;

use midsession::testing::strategies;
use midsession::{DuplicatePolicy, DuplicateScope};
use proptest::prelude::*;

#[test]
fn it_reads_from_json_and_toml() {
    let expected = DuplicatePolicy::new(Duration::from_millis(1500)).with_scope(DuplicateScope::SameIdentifier);
    assert_eq!(
        serde_json::from_str::<DuplicatePolicy>(r#"{"scope":"same_identifier","interval":"1.5s"}"#).unwrap(),
        expected
    );
    assert_eq!(toml::from_str::<DuplicatePolicy>("interval = '1.5s'\nscope = 'same_identifier'").unwrap(), expected);
    assert_eq!(expected.interval(), Duration::from_millis(1500));
    assert_eq!(expected.scope(), DuplicateScope::SameIdentifier);
}

#[test]
fn the_scope_may_be_left_out_and_the_interval_may_not() {
    let policy: DuplicatePolicy = serde_json::from_str(r#"{"interval":"30s"}"#).unwrap();
    assert_eq!(policy, DuplicatePolicy::new(Duration::from_secs(30)));
    assert_eq!(policy.scope(), DuplicateScope::Session);
    assert!(serde_json::from_str::<DuplicatePolicy>(r#"{"scope":"session"}"#).is_err());
}

#[test]
fn an_interval_that_is_not_seconds_with_an_s_is_refused_by_name() {
    let refused = [
        "\"30\"",
        "\"30 s\"",
        "\" 30s\"",
        "\"30m\"",
        "\"s\"",
        "\".5s\"",
        "\"1.s\"",
        "\"+1s\"",
        "\"-1s\"",
        "\"1e3s\"",
        "\"1.5.5s\"",
        "\"0.0000000001s\"",
        "\"18446744073709551616s\"",
        "\"\"",
        "30",
        "null",
        "{\"secs\":30,\"nanos\":0}",
        "[30]",
    ];
    for interval in refused {
        let error =
            serde_json::from_str::<DuplicatePolicy>(&format!("{{\"interval\":{interval}}}")).unwrap_err().to_string();
        let expected = "`interval` is invalid: expected seconds with an `s`, such as `30s` or `0.5s`";
        assert!(error.starts_with(expected), "{interval}: {error}");
    }
    for policy in ["[\"30s\",\"session\"]", "\"30s\"", "30", "null"] {
        assert!(serde_json::from_str::<DuplicatePolicy>(policy).is_err(), "{policy}");
    }
}

#[test]
fn a_scope_that_is_none_is_refused_by_name() {
    for scope in ["\"Session\"", "\"call\"", "5", "[]"] {
        let policy = format!("{{\"interval\":\"30s\",\"scope\":{scope}}}");
        let error = serde_json::from_str::<DuplicatePolicy>(&policy).unwrap_err().to_string();
        assert!(error.starts_with("`scope` is invalid: expected `session` or `same_identifier`"), "{scope}: {error}");
    }
}

#[test]
fn a_misspelt_key_is_refused_and_never_means_the_default() {
    for policy in [
        r#"{"interval":"30s","scpoe":"same_identifier"}"#,
        r#"{"Interval":"30s"}"#,
        r#"{"interval":"30s","":null}"#,
        r#"{"interval":"30s","scope ":"session"}"#,
    ] {
        let error = serde_json::from_str::<DuplicatePolicy>(policy).unwrap_err();
        let expected = "unknown key in a duplicate policy: expected `interval` or `scope`";
        assert!(error.is_data() && error.to_string().starts_with(expected), "{policy}: {error}");
    }
    let error = toml::from_str::<DuplicatePolicy>("interval = '30s'\nscpoe = 'same_identifier'").unwrap_err();
    assert!(error.message().starts_with("unknown key"), "{error}");
}

#[test]
fn a_key_given_twice_is_refused_by_name() {
    let error = serde_json::from_str::<DuplicatePolicy>(r#"{"interval":"30s","interval":"60s"}"#).unwrap_err();
    assert!(error.to_string().starts_with("duplicate field `interval`"), "{error}");
}

#[test]
fn it_is_written_as_a_person_would() {
    let written = |interval| serde_json::to_string(&DuplicatePolicy::new(interval)).unwrap();
    assert_eq!(written(Duration::ZERO), r#"{"interval":"0s","scope":"session"}"#);
    assert_eq!(written(Duration::from_secs(300)), r#"{"interval":"300s","scope":"session"}"#);
    assert_eq!(written(Duration::from_nanos(1)), r#"{"interval":"0.000000001s","scope":"session"}"#);
    assert_eq!(written(Duration::MAX), r#"{"interval":"18446744073709551615.999999999s","scope":"session"}"#);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(interval in strategies::interval(), same in any::<bool>()) {
        let scope = if same { DuplicateScope::SameIdentifier } else { DuplicateScope::Session };
        let policy = DuplicatePolicy::new(interval).with_scope(scope);
        let text = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<DuplicatePolicy>(&text).unwrap(), policy);
    }
}
