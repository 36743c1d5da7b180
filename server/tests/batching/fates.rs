//! What becomes of a write: another server was first, its fate is not known, or the database refuses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use midsession::{CommType, DuplicatePolicy, LinkChange, LinkErrorKind, Session};
use midsession_server::{Limits, SubmitError};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::{change, chat, link, linked, linked_at, new, now, person, settle, spawn, with_clock};
use crate::memory::Fault;

#[tokio::test(start_paused = true)]
async fn a_command_that_lost_a_race_is_decided_again_on_the_session_as_it_is_then() {
    let (store, sessions) = new(Limits::default());
    let ended = chat().end(now());
    store.fail([Fault::LosesTo("chat".to_owned(), ended.clone())]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Err(LinkErrorKind::AlreadyEnded));
    assert_eq!(store.get("chat"), Some(ended));
}

#[tokio::test(start_paused = true)]
async fn races_lost_again_and_again_are_given_up() {
    let (store, sessions) = new(Limits::default());
    let mut other = Session::start(CommType::Chat);
    let zero = DuplicatePolicy::new(Duration::ZERO);
    for _ in 0..16 {
        let end_user = midsession::EndUser::new("other").unwrap();
        other = other.link(&end_user, &zero, OffsetDateTime::UNIX_EPOCH).unwrap().into_session();
        store.fail([Fault::LosesTo("chat".to_owned(), other.clone().into())]);
    }
    let given_up = sessions.submit("chat", link("a")).await;
    assert!(matches!(given_up, Err(SubmitError::Contended)), "{given_up:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_takes_no_read_after_a_weak_read_and_a_refusal_takes_one() {
    let (store, sessions) = new(Limits::default());
    store.read_weakly_as([]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(store.reads(), 0);
    assert_eq!(change(sessions.submit("chat", link("b")).await), Err(LinkErrorKind::Duplicate));
    assert_eq!(store.reads(), 1);
    assert_eq!(change(sessions.submit("unknown", link("b")).await), Err(LinkErrorKind::NotFound));
    assert_eq!(store.reads(), 2);
    assert_eq!(store.batches(), [1]);
}

#[tokio::test(start_paused = true)]
async fn no_one_is_refused_for_what_only_a_weak_read_shows() {
    for ghost in [None, Some(chat().end(now())), Some(linked("other"))] {
        let (store, sessions) = new(Limits::default());
        store.read_weakly_as([("chat", ghost)]);
        assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
        assert_eq!(person(&store.get("chat").unwrap()), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_rests_on_a_session_of_the_same_revision_that_was_lost_is_decided_again() {
    let (store, sessions) = new(Limits::default());
    let long_ago = now() - Duration::from_hours(1);
    store.put("chat", linked_at("kept", now()));
    store.read_weakly_as([("chat", Some(linked_at("lost", long_ago)))]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Err(LinkErrorKind::Duplicate));
    assert_eq!((store.batches(), store.reads()), (vec![1], 1), "written in vain, then read");
    assert_eq!(person(&store.get("chat").unwrap()), "kept");
}

#[tokio::test(start_paused = true)]
async fn an_open_write_is_looked_up_with_a_read_though_a_weak_read_shows_it() {
    let (store, sessions) = new(Limits::default());
    // It was never made, and a weak read shows it as if it were.
    store.fail([Fault::Breaks]);
    store.read_weakly_as([("chat", Some(linked("a")))]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(person(&store.get("chat").unwrap()), "a");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_made_and_forgotten_is_answered_as_made() {
    for fault in [Fault::Forgets, Fault::Hangs, Fault::Miscounts, Fault::Late(Duration::from_millis(20))] {
        let (store, sessions) = new(Limits::default());
        store.fail([fault.clone()]);
        let (first, second) = (spawn(&sessions, "chat", link("a")), spawn(&sessions, "chat", link("b")));
        assert_eq!(change(first.await.unwrap()), Ok(LinkChange::First), "{fault:?}");
        assert_eq!(change(second.await.unwrap()), Err(LinkErrorKind::Duplicate), "{fault:?}");
        assert_eq!(store.get("chat").unwrap().revision(), 1, "{fault:?}");
        assert_eq!(store.batches(), [1], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_made_is_made_again() {
    for fault in [Fault::Breaks, Fault::Panics] {
        let (store, sessions) = new(Limits::default());
        store.fail([fault.clone(), fault.clone()]);
        assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First), "{fault:?}");
        assert_eq!(person(&store.get("chat").unwrap()), "a");
        assert_eq!(store.batches(), [1, 1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_comes_late_is_told_from_another_servers() {
    // It arrives while its command is decided again, and wins against that.
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Late(Duration::from_millis(60)), Fault::Slow(Duration::from_millis(20))]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(store.get("chat").unwrap().revision(), 1, "linked once");
}

#[tokio::test(start_paused = true)]
async fn where_others_went_on_the_outcome_is_not_known() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Forgets]);
    let link = spawn(&sessions, "chat", link("a"));
    settle().await;
    store.put("chat", store.get("chat").unwrap().end(now()));
    let answer = link.await.unwrap();
    assert!(matches!(answer, Err(SubmitError::Unknown(_))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_another_server_made_impossible_is_decided_again() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Breaks]);
    let link = spawn(&sessions, "chat", link("a"));
    settle().await;
    store.put("chat", store.get("chat").unwrap().end(now()));
    assert_eq!(change(link.await.unwrap()), Err(LinkErrorKind::AlreadyEnded));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_fails_its_own_commands_alone_without_a_look_up() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::RefusesOne("chat".to_owned())]);
    let started = Instant::now();
    let (refused, whole) = (spawn(&sessions, "chat", link("a")), spawn(&sessions, "first", link("a")));
    let refused = refused.await.unwrap();
    assert!(
        matches!(&refused, Err(SubmitError::Store(error)) if error.nothing_was_written()),
        "nothing was done, and that is said: {refused:?}"
    );
    assert_eq!(change(whole.await.unwrap()), Ok(LinkChange::First));
    assert_eq!((store.reads(), started.elapsed()), (1, Duration::ZERO), "it is not looked up");
    assert_eq!(store.get("chat"), Some(chat()));
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First), "the next is written");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_write_of_unknown_fate_does_not_say_that_nothing_was_done() {
    // The first write comes later than the refusal of the second.
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Late(Duration::from_millis(60)), Fault::RefusesOne("chat".to_owned())]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(store.get("chat").unwrap().revision(), 1, "linked once");
}

/// The clock goes back between the two decisions, so that the second one is a refusal.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_refused_while_its_earlier_write_may_still_come_is_of_unknown_fate() {
    let (decided, interval) = (AtomicBool::new(false), Duration::from_secs(30));
    let clock = move || if decided.swap(true, Ordering::Relaxed) { now() - interval } else { now() };
    let (store, sessions) = with_clock(Arc::new(clock), Limits::default());
    store.put("chat", linked_at("a", now() - interval));
    store.fail([Fault::Late(Duration::from_millis(60))]);
    let answer = sessions.submit("chat", link("b")).await;
    assert!(matches!(answer, Err(SubmitError::Unknown(_))), "{answer:?}");
    sleep(Duration::from_millis(60)).await;
    assert_eq!(person(&store.get("chat").unwrap()), "b", "it was made after all");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_something_else_holds_is_decided_again_and_the_others_of_its_batch_are_answered() {
    let (store, sessions) = new(Limits::default());
    store.fail(vec![Fault::Holds("chat".to_owned()); 2]);
    let (held, free) = (spawn(&sessions, "chat", link("a")), spawn(&sessions, "first", link("a")));
    settle().await;
    assert!(free.is_finished() && !held.is_finished());
    assert_eq!(change(held.await.unwrap()), Ok(LinkChange::First));
    assert_eq!(store.get("chat").unwrap().revision(), 1, "linked once");
}
