//! What fails, is late, or is no longer waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midsession::LinkChange;
use midsession_server::{Limits, Outcome, SubmitError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{SECOND, change, chat, link, new, now, person, settle, spawn, with_clock};
use crate::memory::Fault;

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_fails_the_batch_at_once_and_not_the_next() {
    let (store, sessions) = new(Limits::default());
    store.fail([Fault::Refuses]);
    let started = Instant::now();
    let refused = sessions.submit("chat", link("a")).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
}

#[tokio::test(start_paused = true)]
async fn limits_as_large_as_their_types_are_as_good_as_none() {
    let limits = Limits { shards: usize::MAX, queue: usize::MAX, batch: usize::MAX, request_timeout: Duration::MAX };
    let (store, sessions) = new(limits);
    store.fail([Fault::Holds("chat".to_owned())]);
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First));
    assert!(sessions.read("chat").await.unwrap().is_some());
    sessions.probe(Duration::MAX).await.unwrap();
    sessions.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_fails_its_own_command_alone() {
    let (store, sessions) = new(Limits::default());
    store.make_unreadable("broken");
    let (broken, whole) = (spawn(&sessions, "broken", link("a")), spawn(&sessions, "chat", link("a")));
    let broken = broken.await.unwrap();
    assert!(matches!(broken, Err(SubmitError::Unreadable(_))), "{broken:?}");
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
    assert!(matches!(first, Err(SubmitError::Panicked)), "{first:?}");
    assert_eq!(change(second.await.unwrap()), Ok(LinkChange::First));
    assert_eq!(person(&store.get("chat").unwrap()), "b");
}

#[tokio::test(start_paused = true)]
async fn beyond_a_full_queue_commands_are_refused_after_half_a_second_and_the_others_are_answered() {
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
    assert!(links.try_join_next().is_none(), "none is told at once");
    sleep(SECOND / 2).await;
    settle().await;
    let mut full = 0;
    while let Some(refused) = links.try_join_next() {
        let (_, answer) = refused.unwrap();
        assert!(matches!(answer, Err(SubmitError::Full)), "{answer:?}");
        full += 1;
    }
    assert_eq!(full, 12);
    for (_, answer) in links.join_all().await {
        assert_eq!(change(answer), Ok(LinkChange::First));
    }
    under_way.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_command_is_answered_within_its_time_out_however_long_the_store_hangs() {
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
            assert!(asked.elapsed() <= limits.request_timeout, "{:?}", asked.elapsed());
            answer
        });
    }
    let answers = links.join_all().await;
    assert!(answers.iter().any(|answer| matches!(answer, Err(SubmitError::Unknown(_) | SubmitError::Late))));
    let accepted = answers.into_iter().filter(|answer| matches!(answer, Ok(Outcome::Link(_, Ok(_))))).count();
    assert!(accepted <= 10, "each session once");
    assert_eq!(change(sessions.submit("chat", link("a")).await), Ok(LinkChange::First), "it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_time_is_over_before_it_is_decided_is_not_carried_out() {
    let (store, sessions) = new(Limits { request_timeout: SECOND, batch: 1, ..Limits::default() });
    store.fail([Fault::Hangs, Fault::Hangs]);
    let (first, second) = (spawn(&sessions, "first", link("a")), spawn(&sessions, "0", link("a")));
    settle().await;
    let late = spawn(&sessions, "chat", link("a"));
    assert_eq!(change(first.await.unwrap()), Ok(LinkChange::First));
    let second = second.await.unwrap();
    assert!(matches!(second, Err(SubmitError::Unknown(_))), "{second:?}");
    assert!(late.await.unwrap().is_err());
    sessions.stop().await;
    assert_eq!(store.get("chat"), Some(chat()));
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_when_the_server_stops_is_answered() {
    let (store, sessions) = new(Limits { shards: 3, ..Limits::default() });
    store.fail([Fault::Slow(SECOND)]);
    let links: Vec<_> = (0..30).map(|number| spawn(&sessions, &number.to_string(), link("a"))).collect();
    settle().await;
    sessions.stop().await;
    for link in links {
        assert!(link.is_finished(), "answered before the stop is over");
        assert_eq!(change(link.await.unwrap()), Ok(LinkChange::First));
    }
    let refused = sessions.submit("chat", link("a")).await;
    assert!(matches!(refused, Err(SubmitError::Stopping)), "{refused:?}");
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
