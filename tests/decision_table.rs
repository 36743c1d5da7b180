//! The decision table: each row, and each pair of rows (both conditions true: the earlier one is the answer).
//!
//! The order of the rows is tested in three places, because each finds other mistakes:
//! - here, with answers typed by hand: a mistake that the crate and the reference model share;
//! - in `exhaustive`, with every combination of the inputs' classes: a mistake that needs three or more conditions, or
//!   certain fields;
//! - in the kit's cases: a case that is missing from what other transports are held to.

use core::time::Duration;

use midsession::{
    AnySession, CommType, CrmSupport, EndUserField, Endpoint, LinkError, LinkErrorKind, LinkRequest, Param,
    RequiredParam, Session, apply_link,
};

use crate::support::{BOTH, NOW, POLICY, assert_answer, end_user, link_new_chat};

/// A request and the session it is put to, acceptable until a row's condition is made true.
struct Situation {
    request: LinkRequest<'static>,
    known: bool,
    comm_type: CommType,
    ended: bool,
    crm_support: CrmSupport,
    just_linked: bool,
}

impl Situation {
    fn acceptable(comm_type: CommType) -> Self {
        let request = LinkRequest {
            comm_type: comm_type.into(),
            identifier: "id-1".into(),
            name: "John Doe".into(),
            email: "johndoe@example.com".into(),
            phone: "123-456-7890".into(),
        };
        let crm_support = CrmSupport::Supported;
        Self { request, known: true, comm_type, ended: false, crm_support, just_linked: false }
    }

    fn make_true(&mut self, row: u8) {
        match row {
            1 => self.request.comm_type = Param::Blank,
            2 => self.request.identifier = Param::Blank,
            3 => self.request.phone = "no digit".into(),
            4 => self.request.comm_type = "email".into(),
            5 => self.comm_type = other(self.comm_type),
            6 => self.ended = true,
            7 => self.crm_support = CrmSupport::Unsupported,
            8 => self.just_linked = true,
            _ => unreachable!(),
        }
    }

    fn session(&self) -> Option<AnySession> {
        let mut session = Session::start(self.comm_type);
        if self.just_linked {
            session = session.link(&end_user("id-1"), &POLICY, NOW).unwrap().into_session();
        }
        let session = AnySession::from(session.with_crm_support(self.crm_support));
        self.known.then(|| if self.ended { session.end(NOW) } else { session })
    }

    #[track_caller]
    fn assert_decided(&self, row: u8, comm_type: CommType) {
        let decision = apply_link(self.session().as_ref(), &self.request, &POLICY, NOW);
        let (status, message, error) = published(row, comm_type);
        assert_answer(&decision, status, message);
        assert_eq!(decision.err(), error);
        if let Some(error) = error {
            assert_eq!(error.to_string(), message);
        }
    }
}

fn other(comm_type: CommType) -> CommType {
    if comm_type == CommType::Call { CommType::Chat } else { CommType::Call }
}

fn published(row: u8, comm_type: CommType) -> (u16, &'static str, Option<LinkError>) {
    let (status, message, error) = match (row, comm_type) {
        (1, _) => {
            (400, "param is missing or the value is empty: comm_type", LinkError::MissingParam(RequiredParam::CommType))
        }
        (2, _) => (
            400,
            "param is missing or the value is empty: identifier",
            LinkError::MissingParam(RequiredParam::Identifier),
        ),
        (3, _) => (400, "param is invalid: phone", LinkError::InvalidParam(EndUserField::Phone)),
        (4 | 5, _) => (404, "Not Found", LinkError::NotFound),
        (6, CommType::Call) => (400, "Call is already ended", LinkError::AlreadyEnded(CommType::Call)),
        (6, CommType::Chat) => (400, "Chat is already ended", LinkError::AlreadyEnded(CommType::Chat)),
        (7, _) => (400, "Unsupported CRM request", LinkError::UnsupportedCrm),
        (8, _) => {
            let retry_after = Duration::from_secs(30);
            (400, "Duplicate request: Please wait for the interval to expire", LinkError::Duplicate { retry_after })
        }
        _ => return (202, "accepted", None),
    };
    (status, message, Some(error))
}

#[test]
fn an_acceptable_request_is_accepted() {
    for comm_type in BOTH {
        Situation::acceptable(comm_type).assert_decided(9, comm_type);
    }
}

#[test]
fn each_row_alone_is_its_answer() {
    for comm_type in BOTH {
        for row in 1..=8 {
            let mut situation = Situation::acceptable(comm_type);
            situation.make_true(row);
            situation.assert_decided(row, comm_type);
        }
    }
}

#[test]
fn of_each_two_rows_the_earlier_is_the_answer() {
    for comm_type in BOTH {
        for earlier in 1..=8 {
            // A comm type cannot be both blank and another one.
            for later in (earlier + 1..=8).filter(|later| (earlier, *later) != (1, 4)) {
                let mut situation = Situation::acceptable(comm_type);
                situation.make_true(later);
                situation.make_true(earlier);
                situation.assert_decided(earlier, comm_type);
            }
        }
    }
}

#[test]
fn an_unknown_session_is_not_found() {
    for comm_type in BOTH {
        let mut situation = Situation::acceptable(comm_type);
        situation.known = false;
        situation.assert_decided(5, comm_type);
    }
}

#[test]
fn a_comm_type_that_is_not_text_or_not_spelt_exactly_is_not_found() {
    let comm_types = [
        Param::NotText,
        "Call".into(),
        "CHAT".into(),
        "calls".into(),
        " chat".into(),
        "chat\n".into(),
        "cha\0t".into(),
    ];
    for comm_type in comm_types {
        let mut situation = Situation::acceptable(CommType::Chat);
        situation.request.comm_type = comm_type;
        situation.assert_decided(4, CommType::Chat);
    }
}

#[test]
fn of_several_unacceptable_fields_the_first_in_the_published_order_is_named() {
    let mut body = serde_json::json!({"identifier": "id-1"});
    for field in EndUserField::ALL.iter().rev() {
        body[field.as_str()] = 7.into();
        let decision = link_new_chat(&body.to_string());
        assert_answer(&decision, 400, &format!("param is invalid: {field}"));
        assert_eq!(decision, Err(LinkError::InvalidParam(*field)));
    }
}

#[test]
fn the_published_samples_are_accepted_as_they_stand() {
    let body = br#"{"identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}"#;
    for (path, comm_type) in
        [("/apps/api/v1/calls/42/end_user", CommType::Call), ("/apps/api/v1/chats/42/end_user", CommType::Chat)]
    {
        let endpoint = Endpoint::parse(path).unwrap();
        let request = serde_json::from_slice::<LinkRequest>(body).unwrap().with_comm_type(endpoint.comm_type());
        let session = AnySession::from(Session::start(comm_type));
        let decision = apply_link(Some(&session), &request, &POLICY, NOW);
        assert_answer(&decision, 202, "accepted");
        let linked = decision.unwrap().into_session();
        let end_user = linked.end_user().unwrap();
        assert_eq!(end_user.identifier(), "unique_external_id");
        assert_eq!(end_user.name(), Some("John Doe"));
        assert_eq!(end_user.email(), Some("johndoe@example.com"));
        assert_eq!(end_user.phone(), Some("123-456-7890"));
    }
}

#[test]
fn text_is_kept_byte_for_byte() {
    let accepted = link_new_chat(r#"{"identifier":" Id ","name":"\u00a0é é ","email":"A@EXAMPLE.com","phone":" 1 "}"#);
    let session = accepted.unwrap().into_session();
    let end_user = session.end_user().unwrap();
    assert_eq!(end_user.identifier(), " Id ");
    assert_eq!(end_user.name(), Some("\u{a0}é é "));
    assert_eq!(end_user.email(), Some("A@EXAMPLE.com"));
    assert_eq!(end_user.phone(), Some(" 1 "));
}

#[test]
fn every_error_has_its_kind() {
    let kinds = [
        (LinkError::MissingParam(RequiredParam::Identifier), LinkErrorKind::MissingParam, "missing_param"),
        (LinkError::InvalidParam(EndUserField::Name), LinkErrorKind::InvalidParam, "invalid_param"),
        (LinkError::NotFound, LinkErrorKind::NotFound, "not_found"),
        (LinkError::AlreadyEnded(CommType::Call), LinkErrorKind::AlreadyEnded, "already_ended"),
        (LinkError::UnsupportedCrm, LinkErrorKind::UnsupportedCrm, "unsupported_crm"),
        (LinkError::Duplicate { retry_after: Duration::MAX }, LinkErrorKind::Duplicate, "duplicate"),
    ];
    for (error, kind, word) in kinds {
        assert_eq!(error.kind(), kind);
        assert_eq!(kind.to_string(), word);
    }
}
