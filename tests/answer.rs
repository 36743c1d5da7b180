//! The answer: from every kind of decision, and as an `http::Response`.

use core::time::Duration;

use midsession::{Answer, CommType, LinkError, Session};

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
