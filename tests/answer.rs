//! The answer: from every kind of decision, as an `http::Response`, and as a client reads it.

use core::time::Duration;

use midsession::{Answer, CommType, EndUserField, LinkError, RequiredParam, Session};
use proptest::prelude::*;

use crate::support::{NOW, POLICY, end_user};

const DUPLICATE: LinkError = LinkError::Duplicate { retry_after: Duration::from_millis(19_001) };

#[test]
fn it_is_the_same_from_a_decision_and_from_either_half_of_it() {
    for error in [DUPLICATE, LinkError::NotFound, LinkError::AlreadyEnded(CommType::Call)] {
        assert_eq!(Answer::from(error), Answer::from(&error));
        assert_eq!(Answer::from(error), Answer::from(&Err(error)));
    }
    let decision = Session::start(CommType::Chat).link(&end_user("id-1"), &POLICY, NOW);
    assert_eq!(Answer::from(decision.as_ref().unwrap()), Answer::from(&decision));
}

#[test]
fn a_question_mark_turns_a_refusal_into_its_answer() {
    fn answer() -> Result<(), Answer> {
        Err(LinkError::UnsupportedCrm)?
    }
    assert_eq!(answer().unwrap_err().body, r#"{"message":"Unsupported CRM request"}"#);
}

#[test]
fn an_http_response_has_the_status_the_body_its_type_and_the_wait() {
    let response: http::Response<Vec<u8>> = Answer::from(DUPLICATE).into();
    assert_eq!(response.status(), 400);
    assert_eq!(response.body(), br#"{"message":"Duplicate request: Please wait for the interval to expire"}"#);
    let headers: Vec<_> = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("content-type", &b"application/json"[..]), ("retry-after", b"20")]);
}

#[test]
fn an_http_response_without_a_wait_has_no_header_for_it() {
    let response: http::Response<&str> = Answer::from(LinkError::NotFound).into();
    assert_eq!((response.status().as_u16(), response.headers().len()), (404, 1));
}

#[test]
fn an_answer_of_the_embedders_own_takes_the_same_way_and_never_panics() {
    let own = |status| {
        let mut answer = Answer::new(status, "{}");
        answer.retry_after = Some(Duration::MAX);
        answer
    };
    let response: http::Response<String> = own(503).into();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], u64::MAX.to_string());
    for no_status in [0, 42, 1000, u16::MAX] {
        assert_eq!(http::Response::<&str>::from(own(no_status)).status(), 500);
    }
}

/// Every refusal of the contract, with this wait.
fn refusals(retry_after: Duration) -> Vec<LinkError> {
    let mut refusals = vec![LinkError::NotFound, LinkError::UnsupportedCrm, LinkError::Duplicate { retry_after }];
    refusals.extend(RequiredParam::ALL.iter().copied().map(LinkError::MissingParam));
    refusals.extend(EndUserField::ALL.iter().copied().map(LinkError::InvalidParam));
    refusals.extend(CommType::ALL.iter().copied().map(LinkError::AlreadyEnded));
    refusals
}

#[test]
fn a_client_reads_every_answer_of_the_contract_back() {
    assert_eq!(Answer::parse(202, br#"{"message":"accepted"}"#, None), Some(Ok(())));
    for secs in [1, 20, u64::MAX] {
        for error in refusals(Duration::from_secs(secs)) {
            let answer = Answer::from(error);
            assert_eq!(
                Answer::parse(answer.status, answer.body.as_bytes(), answer.retry_after_secs()),
                Some(Err(error))
            );
        }
    }
}

/// The header has whole seconds.
#[test]
fn a_client_reads_a_wait_that_is_never_shorter_than_the_exact_one() {
    for (exact, read) in [(1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2), (19_001_000_000, 20)] {
        let answer = Answer::from(LinkError::Duplicate { retry_after: Duration::from_nanos(exact) });
        let duplicate = LinkError::Duplicate { retry_after: Duration::from_secs(read) };
        assert_eq!(Answer::parse(400, answer.body.as_bytes(), answer.retry_after_secs()), Some(Err(duplicate)));
    }
}

#[test]
fn a_duplicate_without_a_usable_wait_is_read_with_one_second() {
    let body = Answer::from(DUPLICATE).body.as_bytes();
    let one_second = LinkError::Duplicate { retry_after: Duration::from_secs(1) };
    for header in [None, Some(0)] {
        assert_eq!(Answer::parse(400, body, header), Some(Err(one_second)));
    }
}

#[test]
fn a_wait_beside_another_answer_changes_nothing() {
    assert_eq!(Answer::parse(202, Answer::ACCEPTED.body.as_bytes(), Some(7)), Some(Ok(())));
    for error in
        refusals(Duration::from_secs(7)).into_iter().filter(|error| !matches!(error, LinkError::Duplicate { .. }))
    {
        let answer = Answer::from(error);
        assert_eq!(Answer::parse(answer.status, answer.body.as_bytes(), Some(7)), Some(Err(error)));
    }
}

#[test]
fn a_known_body_with_another_status_is_not_an_answer_of_the_contract() {
    let answers = refusals(Duration::from_secs(1)).into_iter().map(Answer::from).chain([Answer::ACCEPTED]);
    for answer in answers {
        for status in (0..1000).filter(|status| *status != answer.status) {
            assert_eq!(Answer::parse(status, answer.body.as_bytes(), None), None, "{status} {}", answer.body);
        }
    }
}

#[test]
fn a_known_status_with_another_body_is_not_an_answer_of_the_contract() {
    for body in [
        &b""[..],
        b"accepted",
        b"{}",
        br#"{"message": "accepted"}"#,
        br#"{"message":"Accepted"}"#,
        br#"{"message":"accepted"}
"#,
        br#" {"message":"accepted"}"#,
        br#"{"message":"accepted","id":1}"#,
        br#"{"message":"try again"}"#,
        br#"{"message":"param is missing or the value is empty: name"}"#,
        br#"{"message":"param is invalid: comm_type"}"#,
        b"\xff\xfe",
    ] {
        for status in [202, 400, 404] {
            assert_eq!(Answer::parse(status, body, None), None, "{status} {}", body.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn an_answer_with_one_other_byte_is_not_an_answer_of_the_contract(
        of in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), other in 1_u8..,
    ) {
        let refusals = refusals(Duration::from_secs(1));
        let answer = Answer::from(of.get(&refusals));
        let mut body = answer.body.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] ^= other;
        prop_assert_eq!(Answer::parse(answer.status, &body, None), None);
        body.truncate(at);
        prop_assert_eq!(Answer::parse(answer.status, &body, None), None);
    }
}
