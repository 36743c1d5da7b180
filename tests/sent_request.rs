//! The request as a client serialises it: a body that reads back as the same request.

use midsession::{CommType, LinkRequest, OwnedLinkRequest, Param, Session, apply_link};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::support::{NOW, POLICY, end_user};

fn john() -> LinkRequest<'static> {
    LinkRequest {
        identifier: "unique_external_id".into(),
        name: "John Doe".into(),
        email: "johndoe@example.com".into(),
        phone: "123-456-7890".into(),
        ..LinkRequest::default()
    }
}

#[test]
fn the_published_sample_is_written_as_it_is_published() {
    let sample =
        r#"{"identifier":"unique_external_id","name":"John Doe","email":"johndoe@example.com","phone":"123-456-7890"}"#;
    assert_eq!(serde_json::to_string(&john()).unwrap(), sample);
    assert_eq!(serde_json::to_string(&OwnedLinkRequest::from(john())).unwrap(), sample);
}

#[test]
fn blank_params_are_left_out() {
    let blank = Param::Text("\u{a0}\t".into());
    let request =
        LinkRequest { comm_type: blank.clone(), name: Param::from(""), email: blank, phone: Param::Blank, ..john() };
    assert_eq!(serde_json::to_value(&request).unwrap(), json!({"identifier": "unique_external_id"}));
    assert_eq!(serde_json::to_string(&LinkRequest::default()).unwrap(), "{}");
}

#[test]
fn the_comm_type_is_written_if_it_is_set() {
    let request = LinkRequest { identifier: "id-1".into(), ..LinkRequest::default() }.with_comm_type(CommType::Chat);
    assert_eq!(serde_json::to_value(&request).unwrap(), json!({"comm_type": "chat", "identifier": "id-1"}));
}

#[test]
fn a_param_that_is_not_text_is_written_as_a_value_that_is_not_text() {
    let not_text = || Param::NotText;
    let request = LinkRequest {
        comm_type: not_text(),
        identifier: not_text(),
        name: not_text(),
        email: not_text(),
        phone: not_text(),
    };
    let body = serde_json::to_value(&request).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 5);
    assert!(body.as_object().unwrap().values().all(Json::is_boolean), "{body}");
    assert_eq!(serde_json::from_value::<OwnedLinkRequest>(body).unwrap().0, request);
}

#[test]
fn text_is_written_byte_for_byte() {
    let text = " \"\\\u{0}\n\u{7f}\u{2028}é👋 ";
    let request = LinkRequest { identifier: text.into(), ..LinkRequest::default() };
    let body = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<LinkRequest>(&body).unwrap().identifier.as_text(), Some(text));
}

/// The params as `From` builds them: blank text is blank.
fn normal(request: &LinkRequest<'_>) -> LinkRequest<'static> {
    let normal = |param: &Param<'_>| match param {
        Param::Text(text) => Param::from(text.to_string()),
        other => other.clone().into_owned(),
    };
    LinkRequest {
        comm_type: normal(&request.comm_type),
        identifier: normal(&request.identifier),
        name: normal(&request.name),
        email: normal(&request.email),
        phone: normal(&request.phone),
    }
}

proptest! {
    #[test]
    fn any_request_is_read_back_as_it_was(request in any::<LinkRequest>()) {
        let body = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(serde_json::from_str::<LinkRequest>(&body).unwrap(), normal(&request));
        let owned = OwnedLinkRequest(request.clone());
        prop_assert_eq!(serde_json::to_string(&owned).unwrap(), body.as_str());
        prop_assert_eq!(serde_json::from_str::<OwnedLinkRequest>(&body).unwrap().0, normal(&request));
    }

    #[test]
    fn any_request_is_read_back_from_a_binary_format(request in any::<LinkRequest>()) {
        let mut body = Vec::new();
        ciborium::into_writer(&request, &mut body).unwrap();
        prop_assert_eq!(ciborium::from_reader::<OwnedLinkRequest, _>(&body[..]).unwrap().0, normal(&request));
    }

    #[test]
    fn what_is_read_back_is_decided_as_what_was_sent(request in any::<LinkRequest>()) {
        let body = serde_json::to_vec(&request).unwrap();
        let sent: LinkRequest = serde_json::from_slice(&body).unwrap();
        let session = Session::start(CommType::Chat).with_end_user(end_user("id-1")).into();
        for comm_type in [request.comm_type.clone(), CommType::Chat.into()] {
            let [before, after] = [&request, &sent].map(|request| {
                apply_link(Some(&session), &request.clone().with_comm_type(comm_type.clone()), &POLICY, NOW)
            });
            prop_assert_eq!(before, after);
        }
    }
}
