//! What is slow waits alone. The clock is paused, so that a command that waits for nothing takes no time at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use midsession::{DuplicatePolicy, LinkChange, LinkErrorKind};
use midsession_server::{
    ConditionalWrite, Limits, PROBE_ID, ReadOutcome, Sessions, Store, StoreError, SubmitError, WriteOutcome,
};
use tokio::time::Instant;

use super::{SECOND, change, chat, link, new, now, person, settle, spawn};
use crate::memory::{Fault, Memory};

/// Thirty links, one after the other, of which none waits.
async fn others_go_on(sessions: &Sessions<Memory>) {
    let started = Instant::now();
    for number in 0..30 {
        assert_eq!(change(sessions.submit(&number.to_string(), link("a")).await), Ok(LinkChange::First));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_something_else_holds_does_not_slow_its_shard() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Holds("chat".to_owned())]);
    let held = spawn(&sessions, "chat", link("a"));
    settle().await;
    others_go_on(&sessions).await;
    assert!(!held.is_finished());
    assert_eq!(change(held.await.unwrap()), Ok(LinkChange::First));
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_fate_does_not_slow_its_shard() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::LosesTrackOf("chat".to_owned())]);
    let open = spawn(&sessions, "chat", link("a"));
    settle().await;
    others_go_on(&sessions).await;
    assert!(!open.is_finished());
    assert_eq!(change(open.await.unwrap()), Ok(LinkChange::First));
}

#[tokio::test(start_paused = true)]
async fn what_must_wait_again_and_again_is_tried_ever_more_rarely() {
    for fault in [Fault::LosesTrackOf("chat".to_owned()), Fault::Holds("chat".to_owned())] {
        let (store, sessions) = new(Limits::default());
        store.fail(vec![fault.clone(); 200]);
        let error = sessions.submit("chat", link("a")).await.unwrap_err();
        let is_unknown = matches!(error, SubmitError::Unknown(_));
        assert_eq!(is_unknown, matches!(fault, Fault::LosesTrackOf(_)), "{error}");
        // At once, after 50, 100 and 200 ms, then every 400 ms of its 5 s.
        assert_eq!(store.batches().len(), 4 + (5000 - 350) / 400, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_session_that_is_put_aside_waits_with_it_and_its_fate_can_be_told() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Forgets]);
    let open = spawn(&sessions, "chat", link("a"));
    settle().await;
    let later = ["b", "c", "d"].map(|person| spawn(&sessions, "chat", link(person)));
    assert_eq!(change(open.await.unwrap()), Ok(LinkChange::First), "no one changed the session meanwhile");
    for later in later {
        assert_eq!(change(later.await.unwrap()), Err(LinkErrorKind::Duplicate));
    }
    assert_eq!(person(&store.get("chat").unwrap()), "a");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_session_do_not_fill_the_queue_of_the_others() {
    let (store, sessions) = new(Limits { queue: 8, ..Limits::default() });
    store.fail(vec![Fault::Holds("chat".to_owned()); 5]);
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(spawn(&sessions, "chat", link("a")));
        settle().await;
    }
    others_go_on(&sessions).await;
    let mut full = 0;
    for held in held {
        full += usize::from(matches!(held.await.unwrap(), Err(SubmitError::Full)));
    }
    assert_eq!(full, 16, "half of the places, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_database_that_hangs_delays_its_own_sessions_alone() {
    let (store, sessions) = new(Limits::default());
    store.put_into_part("chat", 1);
    store.hang_part(1);
    let (stuck, unseen) = (spawn(&sessions, "chat", link("a")), {
        let sessions = sessions.clone();
        tokio::spawn(async move { sessions.read("chat").await })
    });
    settle().await;
    others_go_on(&sessions).await;
    assert!(sessions.read("first").await.unwrap().is_some());
    assert_eq!(sessions.probe(SECOND).await.ok(), Some(()));
    assert!(stuck.await.unwrap().is_err() && unseen.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_before_a_store_that_hangs_those_that_were_not_written_are_told_that_nothing_was_done() {
    let (store, sessions) = new(Limits { batch: 10, ..Limits::default() });
    store.read_weakly_as([]);
    store.fail(vec![Fault::Hangs; 2]);
    let links: Vec<_> = (0..100).map(|number| spawn(&sessions, &format!("new-{number}"), start())).collect();
    let (mut late, mut unknown) = (0, 0);
    for (number, link) in links.into_iter().enumerate() {
        match link.await.unwrap() {
            Err(SubmitError::Late) => late += 1,
            Err(SubmitError::Unknown(_)) => unknown += 1,
            Ok(_) => assert!(number < 20, "of those whose write was under way"),
            Err(other) => panic!("{other}"),
        }
    }
    sessions.stop().await;
    assert!(late >= 80 && late + unknown <= 100, "{late} {unknown}");
    let stored = (0..100).filter(|number| store.get(&format!("new-{number}")).is_some()).count();
    assert_eq!(stored, 100 - late, "who was told that nothing was done has nothing done");
}

fn start() -> midsession_server::Command {
    midsession_server::Command::Start(midsession::Session::start(midsession::CommType::Chat))
}

#[tokio::test(start_paused = true)]
async fn what_is_told_to_be_undecided_is_not_decided_when_its_turn_comes() {
    let (store, sessions) = new(Limits { batch: 1, ..Limits::default() });
    store.slow_reads(Duration::from_millis(2_400));
    // The read of the third begins in time, and ends after it.
    let [first, second, third] = ["first", "0", "chat"].map(|id| spawn(&sessions, id, link("a")));
    assert_eq!(change(first.await.unwrap()), Ok(LinkChange::First));
    assert_eq!(change(second.await.unwrap()), Ok(LinkChange::First));
    let third = third.await.unwrap();
    assert!(matches!(third, Err(SubmitError::Late)), "{third:?}");
    sessions.stop().await;
    assert_eq!((store.reads(), store.get("chat")), (3, Some(chat())));
}

/// A store that panics where an `async fn` cannot: before it returns its future, or when that is dropped.
struct Fragile {
    store: Memory,
    panics_at_once: AtomicBool,
    panics_on_drop: AtomicBool,
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("as told");
    }
}

impl Store for Fragile {
    fn read(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<ReadOutcome>, StoreError>> + Send {
        assert!(!self.panics_at_once.swap(false, Ordering::SeqCst), "as told");
        self.store.read(ids)
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        if self.panics_on_drop.swap(false, Ordering::SeqCst) {
            let _panics = PanicsOnDrop;
            std::future::pending::<()>().await;
        }
        self.store.write(writes).await
    }
}

fn fragile(panics_at_once: bool, panics_on_drop: bool) -> Sessions<Fragile> {
    let (store, _) = new(Limits::default());
    let store = Fragile { store, panics_at_once: panics_at_once.into(), panics_on_drop: panics_on_drop.into() };
    Sessions::start(store, DuplicatePolicy::new(Duration::from_secs(30)), Arc::new(now), Limits::default())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_before_it_returns_its_future_fails_that_call_alone() {
    let sessions = fragile(true, false);
    assert!(matches!(sessions.submit("chat", link("a")).await, Err(SubmitError::Store(_))));
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    let sessions = fragile(true, false);
    assert!(matches!(sessions.read("chat").await, Err(SubmitError::Store(_))));
    assert!(sessions.read("chat").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_panics_goes_on_with_what_waits() {
    let sessions = fragile(false, true);
    let lost = spawn(&sessions, "chat", link("a"));
    settle().await;
    let waits = spawn(&sessions, "first", link("a"));
    let lost = lost.await.unwrap();
    assert!(matches!(lost, Err(SubmitError::Unknown(_))), "a write of it was under way: {lost:?}");
    assert_eq!(change(waits.await.unwrap()), Ok(LinkChange::First));
    sessions.probe(SECOND).await.unwrap();
    sessions.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_probe_takes_the_way_of_a_link_through_each_shard() {
    let (store, sessions) = new(Limits { shards: 4, ..Limits::default() });
    sessions.probe(SECOND).await.unwrap();
    sessions.probe(SECOND).await.unwrap();
    let probes = store.writes();
    assert!(probes.iter().all(|write| write.is_probe() && write.changes.is_empty()) && probes.len() == 2);
    assert_eq!(store.get(PROBE_ID).unwrap().revision(), 1);
    // Whichever shard it is that hangs.
    for number in 0..30 {
        let (store, sessions) = new(Limits { shards: 4, ..Limits::default() });
        store.fail([Fault::Hangs]);
        let _stuck = spawn(&sessions, &number.to_string(), link("a"));
        settle().await;
        assert!(sessions.probe(SECOND).await.is_err(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_of_the_probe_is_as_good_as_a_write() {
    let (store, sessions) = new(Limits::default());
    let other = midsession::Session::start(midsession::CommType::Call);
    store.fail([Fault::LosesTo(PROBE_ID.to_owned(), other.into())]);
    sessions.probe(SECOND).await.unwrap();
    assert_eq!(store.batches(), [1]);
    store.put(PROBE_ID, chat().end(now()));
    assert!(sessions.probe(SECOND).await.is_err(), "a record that is no probe's");
}
