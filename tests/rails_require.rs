//! What real Rails answers to each value, recorded in `contract/rails_require.tsv`, is what this crate answers.

use midsession::{AnySession, CommType, EndUserField, LinkRequest, Param, Session, apply_link};

use crate::support::{NOW, POLICY, assert_answer, link_new_chat};

pub fn recorded() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("contract/rails_require.tsv").lines().filter(|line| !line.starts_with('#'));
    let recorded: Vec<_> = lines.map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(recorded.len(), 22);
    recorded
}

#[test]
fn every_recorded_identifier_is_answered_as_rails_does() {
    for (value, message) in recorded() {
        let decision = link_new_chat(&format!("{{\"identifier\":{value}}}"));
        match message {
            "accepted" => assert_answer(&decision, 202, "accepted"),
            "not text" => assert_answer(&decision, 400, "param is invalid: identifier"),
            missing => assert_answer(&decision, 400, missing),
        }
    }
}

#[test]
fn every_recorded_comm_type_is_missing_where_rails_has_it_missing_and_else_not_found() {
    for (value, message) in recorded() {
        let body = format!("{{\"identifier\":\"id-1\",\"comm_type\":{value}}}");
        let request: LinkRequest = serde_json::from_str(&body).unwrap();
        let session = AnySession::from(Session::start(CommType::Chat));
        let decision = apply_link(Some(&session), &request, &POLICY, NOW);
        match message {
            "accepted" | "not text" => assert_answer(&decision, 404, "Not Found"),
            missing => assert_answer(&decision, 400, &missing.replace("identifier", "comm_type")),
        }
    }
}

#[test]
fn every_recorded_blank_is_an_absent_optional_field() {
    for (value, message) in recorded() {
        for field in [EndUserField::Name, EndUserField::Email, EndUserField::Phone] {
            let request = format!("{{\"{field}\":{value}}}");
            let request: LinkRequest = serde_json::from_str(&request).unwrap();
            let param = request.param(field);
            match message {
                "accepted" => assert!(matches!(param, Param::Text(_)), "{value}"),
                "not text" => assert_eq!(*param, Param::NotText, "{value}"),
                _ => assert_eq!(request, LinkRequest::default(), "{value}"),
            }
        }
    }
}
