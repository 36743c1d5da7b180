//! What is decided together, and what the store is told of it.

use std::time::Duration;

use midsession::{CommType, LinkChange, LinkErrorKind, Session};
use midsession_server::{
    Caller, Command, ConditionalWrite, Limits, Origin, Outcome, SessionChange, Sessions, SubmitError,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{SECOND, change, link, new, person, settle, spawn};
use crate::memory::{Fault, Memory};

#[tokio::test(start_paused = true)]
async fn commands_on_one_session_are_decided_one_after_the_other_and_share_a_write() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Slow(SECOND)]);
    let first = spawn(&sessions, "first", link("a"));
    settle().await;
    let batch: Vec<_> = ["b", "c", "d"].map(|person| spawn(&sessions, "chat", link(person))).into();
    settle().await;
    let end = spawn(&sessions, "chat", Command::End(CommType::Chat));
    settle().await;
    let late = spawn(&sessions, "chat", link("e"));

    assert_eq!(change(first.await.unwrap()), Ok(LinkChange::First));
    let mut answers = Vec::new();
    for link in batch {
        answers.push(change(link.await.unwrap()));
    }
    let duplicate = || Err(LinkErrorKind::Duplicate);
    assert_eq!(answers, [Ok(LinkChange::First), duplicate(), duplicate()]);
    assert_eq!(end.await.unwrap().unwrap(), Outcome::Ended);
    assert_eq!(change(late.await.unwrap()), Err(LinkErrorKind::AlreadyEnded));
    assert_eq!(store.batches(), [1, 1], "one write for the five");
    let stored = store.get("chat").unwrap();
    assert_eq!((stored.revision(), stored.is_active(), person(&stored)), (2, false, "b"));
}

#[tokio::test(start_paused = true)]
async fn what_queues_while_a_batch_is_under_way_is_the_next_batch_up_to_its_bound() {
    let (store, sessions) = new(Limits { batch: 4, ..Limits::default() });
    store.fail([Fault::Slow(SECOND)]);
    let links: Vec<_> = (0..10).map(|number| spawn_after(&sessions, number)).collect();
    for link in links {
        assert_eq!(change(link.await.unwrap()), Ok(LinkChange::First));
    }
    assert_eq!(store.batches(), [1, 4, 4, 1]);
}

/// A session each. The first is under way before the others come.
fn spawn_after(sessions: &Sessions<Memory>, number: u32) -> tokio::task::JoinHandle<Result<Outcome, SubmitError>> {
    let sessions = sessions.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(u64::from(number))).await;
        sessions.submit(&number.to_string(), link("a")).await
    })
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_rests_on_the_stored_session_does_not_wait_for_the_batchs_write() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Slow(SECOND), Fault::Hangs]);
    let first = spawn(&sessions, "first", link("a"));
    settle().await;
    let hanging = spawn(&sessions, "chat", link("a"));
    let refused = spawn(&sessions, "unknown", link("a"));
    first.await.unwrap().unwrap();
    settle().await;
    assert!(!hanging.is_finished());
    assert!(refused.is_finished());
    assert_eq!(change(refused.await.unwrap()), Err(LinkErrorKind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_lone_command_does_not_wait_for_others() {
    let (_, sessions) = new(Limits::default());
    let started = Instant::now();
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_write_names_what_was_decided_with_it_in_order() {
    let (store, sessions) = new(Limits::default());
    sessions.submit("fresh", Command::Start(Session::start(CommType::Chat))).await.unwrap();
    store.fail([Fault::Slow(SECOND)]);
    let first = spawn(&sessions, "first", link("a"));
    settle().await;
    // The second is a duplicate, and so no change.
    let commands = [link("a"), link("b"), Command::End(CommType::Chat), Command::Erase(CommType::Chat)];
    let mut batch = JoinSet::new();
    for (number, command) in commands.into_iter().enumerate() {
        let caller = Caller::new("crm").with_client("crm").with_request_id(format!("request-{number}"));
        let sessions = sessions.clone();
        batch.spawn(async move { sessions.submit_as(caller, "chat", command).await.unwrap() });
        settle().await;
    }
    first.await.unwrap().unwrap();
    batch.join_all().await;
    let linked = SessionChange::Linked(LinkChange::First);
    let expected = [
        ("fresh", vec![SessionChange::Started]),
        ("first", vec![linked]),
        ("chat", vec![linked, SessionChange::Ended, SessionChange::Erased]),
    ];
    let writes = store.writes();
    let kinds = |write: &ConditionalWrite| write.changes.iter().map(|change| change.kind).collect::<Vec<_>>();
    let named: Vec<_> = writes.iter().map(|write| (&*write.id, kinds(write))).collect();
    assert_eq!(named, expected);
    assert!(writes.iter().all(|write| !write.is_probe()));

    let changes = &writes[2].changes;
    let revisions: Vec<_> = changes.iter().map(|change| change.revision).collect();
    assert_eq!(revisions, [1, 2, 3]);
    assert_eq!(writes[2].next.revision(), 3);
    let asked: Vec<_> = changes.iter().map(|change| change.origin.request_id.as_deref().unwrap()).collect();
    assert_eq!(asked, ["request-0", "request-2", "request-3"], "each has its own request");
    assert!(changes.iter().all(|change| change.origin.client.as_deref() == Some("crm") && change.at == sessions.now()));
    assert!(writes[0].changes.iter().all(|change| change.origin == Origin::default()));
}
