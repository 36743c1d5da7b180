//! What a refusal says beside its message.

use core::time::Duration;

use midsession::{CommType, EndUserField, LinkError, RequiredParam};

#[test]
fn a_refusal_of_a_param_names_it_as_its_message_does() {
    let missing = RequiredParam::ALL.iter().map(|param| LinkError::MissingParam(*param));
    let invalid = EndUserField::ALL.iter().map(|field| LinkError::InvalidParam(*field));
    let named: Vec<_> = missing.chain(invalid).map(|error| (error.param().unwrap(), error.to_string())).collect();
    let params: Vec<_> = named.iter().map(|(param, _)| *param).collect();
    assert_eq!(params, ["comm_type", "identifier", "identifier", "name", "email", "phone"]);
    for (param, message) in named {
        assert!(message.ends_with(&format!(": {param}")), "{message}");
    }
}

#[test]
fn no_other_refusal_names_a_param() {
    let retry_after = Duration::from_secs(1);
    let [call, chat] = [CommType::Call, CommType::Chat].map(LinkError::AlreadyEnded);
    for error in [LinkError::NotFound, call, chat, LinkError::UnsupportedCrm, LinkError::Duplicate { retry_after }] {
        assert_eq!(error.param(), None, "{error}");
    }
}
