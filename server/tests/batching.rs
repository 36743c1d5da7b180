//! The piece in front of the stores, on a store in memory and on tokio's paused clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midsession::{
    AnySession, CommType, DuplicatePolicy, LinkChange, LinkError, LinkErrorKind, LinkRequest, Param, Session,
};
use midsession_server::{Clock, Command, Decided, Failure, Limits, Sessions};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

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
    assert_eq!(end.await.unwrap().unwrap(), Decided::Ended);
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
fn spawn_after(sessions: &Sessions<Memory>, number: u32) -> tokio::task::JoinHandle<Result<Decided, Failure>> {
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
    assert!(matches!(given_up, Err(Failure::Contended)), "{given_up:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_takes_no_read_after_a_glance_and_a_refusal_takes_one() {
    let (store, sessions) = new(Limits::default());
    store.glance_at([]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert_eq!(store.reads(), 0);
    assert_eq!(change(sessions.submit("chat", link("b")).await), Err(LinkErrorKind::Duplicate));
    assert_eq!(store.reads(), 1);
    assert_eq!(change(sessions.submit("unknown", link("b")).await), Err(LinkErrorKind::NotFound));
    assert_eq!(store.reads(), 2);
    assert_eq!(store.batches(), [1]);
}

#[tokio::test(start_paused = true)]
async fn no_one_is_refused_for_what_only_a_glance_shows() {
    for ghost in [None, Some(chat().end(now())), Some(linked("other"))] {
        let (store, sessions) = new(Limits::default());
        store.glance_at([("chat", ghost)]);
        assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
        assert_eq!(person(&store.get("chat").unwrap()), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_rests_on_a_session_of_the_same_revision_that_was_lost_is_decided_again() {
    let (store, sessions) = new(Limits::default());
    let long_ago = now() - Duration::from_hours(1);
    store.put("chat", linked_at("kept", now()));
    store.glance_at([("chat", Some(linked_at("lost", long_ago)))]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Err(LinkErrorKind::Duplicate));
    assert_eq!((store.batches(), store.reads()), (vec![1], 1), "written in vain, then read");
    assert_eq!(person(&store.get("chat").unwrap()), "kept");
}

#[tokio::test(start_paused = true)]
async fn an_open_write_is_looked_up_with_a_read_though_a_glance_shows_it() {
    let (store, sessions) = new(Limits::default());
    // It was never made, and a glance shows it as if it were.
    store.fail([Fault::Breaks]);
    store.glance_at([("chat", Some(linked("a")))]);
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
    assert!(matches!(answer, Err(Failure::Unknown(_))), "{answer:?}");
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
async fn a_store_that_refuses_fails_the_batch_at_once_and_not_the_next() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Refuses]);
    let started = Instant::now();
    let refused = sessions.submit("chat", link("a")).await;
    assert!(matches!(refused, Err(Failure::Store(_))), "{refused:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_fails_its_own_command_alone() {
    let (store, sessions) = new(Limits::default());
    store.make_unreadable("broken");
    let (broken, whole) = (spawn(&sessions, "broken", link("a")), spawn(&sessions, "chat", link("a")));
    let broken = broken.await.unwrap();
    assert!(matches!(broken, Err(Failure::Unreadable(_))), "{broken:?}");
    assert_eq!(change(whole.await.unwrap()), Ok(LinkChange::First));
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_panics_fails_its_own_command_alone() {
    let panics = Arc::new(AtomicBool::new(true));
    let clock = {
        let panics = panics.clone();
        move || if panics.swap(false, Ordering::SeqCst) { panic!("as told") } else { now() }
    };
    let (store, sessions) = with_clock(Arc::new(clock), Limits::default());
    let (first, second) = (spawn(&sessions, "chat", link("a")), spawn(&sessions, "chat", link("b")));
    let first = first.await.unwrap();
    assert!(matches!(first, Err(Failure::Panicked)), "{first:?}");
    assert_eq!(change(second.await.unwrap()), Ok(LinkChange::First));
    assert_eq!(person(&store.get("chat").unwrap()), "b");
}

#[tokio::test(start_paused = true)]
async fn beyond_a_full_queue_commands_are_refused_at_once_and_the_others_are_answered() {
    let (store, sessions) = new(Limits { queue: 8, ..Limits::default() });
    store.fail([Fault::Slow(SECOND)]);
    let under_way = spawn(&sessions, "first", link("a"));
    settle().await;
    let mut links = JoinSet::new();
    for number in 0..20 {
        let sessions = sessions.clone();
        links.spawn(async move { (Instant::now(), sessions.submit(&number.to_string(), link("a")).await) });
    }
    settle().await;
    let mut full = 0;
    while let Some(refused) = links.try_join_next() {
        let (_, answer) = refused.unwrap();
        assert!(matches!(answer, Err(Failure::Full)), "{answer:?}");
        full += 1;
    }
    assert_eq!(full, 12);
    for (_, answer) in links.join_all().await {
        assert_eq!(change(answer), Ok(LinkChange::First));
    }
    under_way.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_command_is_answered_within_its_patience_however_long_the_store_hangs() {
    let limits = Limits::default();
    let (store, sessions) = new(limits);
    store.fail(vec![Fault::Hangs; 3]);
    let mut links = JoinSet::new();
    for number in 0..100 {
        let sessions = sessions.clone();
        links.spawn(async move {
            sleep(Duration::from_millis(number * 37)).await;
            let asked = Instant::now();
            let answer = sessions.submit(&(number % 10).to_string(), link(&number.to_string())).await;
            assert!(asked.elapsed() <= limits.patience, "{:?}", asked.elapsed());
            answer
        });
    }
    let answers = links.join_all().await;
    assert!(answers.iter().any(|answer| matches!(answer, Err(Failure::Unknown(_) | Failure::Late))));
    let accepted = answers.into_iter().filter(|answer| matches!(answer, Ok(Decided::Link(_, Ok(_))))).count();
    assert!(accepted <= 10, "each session once");
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First), "it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_time_is_over_before_it_is_decided_is_not_carried_out() {
    let (store, sessions) = new(Limits { patience: SECOND, batch: 1, ..Limits::default() });
    store.fail([Fault::Hangs, Fault::Hangs]);
    let (first, second) = (spawn(&sessions, "first", link("a")), spawn(&sessions, "0", link("a")));
    settle().await;
    let late = spawn(&sessions, "chat", link("a"));
    assert_eq!(change(first.await.unwrap()), Ok(LinkChange::First));
    let second = second.await.unwrap();
    assert!(matches!(second, Err(Failure::Unknown(_))), "{second:?}");
    assert!(late.await.unwrap().is_err());
    sessions.stop().await;
    assert_eq!(store.get("chat"), Some(chat()));
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_when_the_server_stops_is_answered() {
    let (store, sessions) = new(Limits { lanes: 3, ..Limits::default() });
    store.fail([Fault::Slow(SECOND)]);
    let links: Vec<_> = (0..30).map(|number| spawn(&sessions, &number.to_string(), link("a"))).collect();
    settle().await;
    sessions.stop().await;
    for link in links {
        assert!(link.is_finished(), "answered before the stop is over");
        assert_eq!(change(link.await.unwrap()), Ok(LinkChange::First));
    }
    let refused = sessions.submit("chat", link("a")).await;
    assert!(matches!(refused, Err(Failure::Stopping)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_is_finished_and_logged_when_no_one_waits_for_it_any_more() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || sink.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Slow(SECOND)]);
    let waiting = spawn(&sessions, "chat", link("a"));
    settle().await;
    waiting.abort();
    settle().await;
    assert_eq!(log.text(), "");
    sessions.stop().await;
    assert_eq!(person(&store.get("chat").unwrap()), "a");
    assert!(log.text().contains(r#""outcome":"first""#), "{}", log.text());
    assert_eq!(log.text().lines().count(), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

/// On a store that has the chats `chat`, `first`, and `0` to `29`.
fn new(limits: Limits) -> (Memory, Sessions<Memory>) {
    with_clock(Arc::new(now), limits)
}

fn with_clock(clock: Clock, limits: Limits) -> (Memory, Sessions<Memory>) {
    let store = Memory::default();
    for id in (0..30).map(|number| number.to_string()).chain(["chat", "first"].map(str::to_owned)) {
        store.put(&id, chat());
    }
    let policy = DuplicatePolicy::new(Duration::from_secs(30));
    (store.clone(), Sessions::start(store, policy, clock, limits))
}

fn chat() -> AnySession {
    Session::start(CommType::Chat).into()
}

fn linked(identifier: &str) -> AnySession {
    linked_at(identifier, now())
}

fn linked_at(identifier: &str, at: OffsetDateTime) -> AnySession {
    let end_user = midsession::EndUser::new(identifier).unwrap();
    let policy = DuplicatePolicy::new(Duration::ZERO);
    Session::start(CommType::Chat).link(&end_user, &policy, at).unwrap().into_session().into()
}

fn link(identifier: &str) -> Command {
    let identifier = Param::from(identifier.to_owned());
    Command::Link(LinkRequest { identifier, ..LinkRequest::default() }.with_comm_type("chat"))
}

fn spawn(sessions: &Sessions<Memory>, id: &str, command: Command) -> tokio::task::JoinHandle<Result<Decided, Failure>> {
    let (sessions, id) = (sessions.clone(), id.to_owned());
    tokio::spawn(async move { sessions.submit(&id, command).await })
}

/// Lets everything run that can run without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[track_caller]
fn change(answer: Result<Decided, Failure>) -> Result<LinkChange, LinkErrorKind> {
    match answer {
        Ok(Decided::Link(_, decision)) => decision.map_err(|error: LinkError| error.kind()),
        other => panic!("{other:?}"),
    }
}

fn person(session: &AnySession) -> &str {
    session.end_user().expect("it is linked").identifier()
}
