//! `testing::revealed` shows the text that `Debug` hides, of everything that hides text, and the testing types show theirs.

use core::fmt::Debug;

use midsession::testing::strategies::{Action, Attempt, history, situation};
use midsession::testing::{Reveal, revealed};
use midsession::{AnySession, CommType, EndUser, Endpoint, LinkRequest, OwnedLinkRequest, Param, Session};

use crate::generators::sample_of;
use crate::support::{NOW, POLICY, request};

const BODY: &str = r#"{"identifier":"id-secret","name":"Jane Secret","email":"secret@example.com","phone":"0-secret"}"#;

#[track_caller]
fn assert_shown(value: &(impl Reveal + Debug + ?Sized), texts: &[&str]) {
    let (hidden, shown) = (format!("{value:?}"), format!("{:?}", revealed(value)));
    for text in texts {
        assert!(!hidden.contains(text), "{hidden}");
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    assert!(!shown.contains("<redacted>"), "{shown}");
}

#[test]
fn all_that_hides_text_can_be_revealed() {
    let texts = ["id-secret", "Jane Secret", "secret@example.com", "0-secret"];
    let end_user = EndUser::new("id-secret").and_then(|end_user| end_user.with_name("Jane Secret"));
    let end_user =
        end_user.and_then(|end_user| end_user.with_email("secret@example.com")?.with_phone("0-secret")).unwrap();
    assert_shown(&end_user, &texts);
    assert_shown(&Param::from("secret"), &["secret"]);
    let request: LinkRequest = request(BODY);
    assert_shown(&request, &texts);
    assert_shown(&OwnedLinkRequest::from(request), &texts);

    let decision = Session::start(CommType::Chat).link(&end_user, &POLICY, NOW);
    assert_shown(&decision, &texts);
    let accepted = decision.unwrap();
    assert_shown(&accepted, &texts);
    let active = accepted.into_session();
    assert_shown(&active, &texts);
    let ended = active.clone().end(NOW);
    assert_shown(&ended, &texts);
    let sessions = [AnySession::from(active), AnySession::from(ended)];
    assert_shown(&sessions, &texts);
    assert_shown(&sessions[..], &texts);
    assert_shown(&Vec::from(sessions.clone()), &texts);
    assert_shown(&Some(&sessions[1]), &texts);
    let path = "/apps/api/v1/secret/42/end_user";
    assert_shown(&Endpoint::parse(path).unwrap(), &["secret"]);
}

#[test]
fn two_that_differ_print_differently() {
    let one = revealed(&EndUser::new("id-1").unwrap()) == revealed(&EndUser::new("id-2").unwrap());
    assert!(!one);
    assert_ne!(format!("{:?}", revealed(&Param::from("a"))), format!("{:?}", revealed(&Param::from("b"))));
}

#[test]
fn generated_values_show_their_text() {
    let situations = format!("{:?}", sample_of(200, situation()));
    let histories = format!("{:?}", sample_of(50, history()));
    assert!(situations.contains("jane.doe") && histories.contains("jane.doe"));
    assert!(!situations.contains("<redacted>") && !histories.contains("<redacted>"));
}

#[test]
fn a_history_shows_what_happens_at_each_step() {
    for step in sample_of(50, history()).into_iter().flat_map(|history| history.steps) {
        let shown = format!("{:?}", step.action);
        match step.action {
            Action::Start(session) => assert_eq!(shown, format!("Start({:?})", revealed(&session))),
            Action::End => assert_eq!(shown, "End"),
            Action::Erase => assert_eq!(shown, "Erase"),
            Action::Link(attempt) => {
                let Attempt { path, body, request, decision } = *attempt;
                let (request, decision) = (revealed(&request), revealed(&decision));
                let fields = format!("path: {path:?}, body: {body:?}, request: {request:?}, decision: {decision:?}");
                assert_eq!(shown, format!("Link(Attempt {{ {fields} }})"));
            }
        }
    }
}
