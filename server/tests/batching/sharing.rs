//! Reads beside commands, and one caller beside another.

use std::time::Duration;

use midsession::LinkChange;
use midsession_server::{Caller, Limits, Sessions, SubmitError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{SECOND, change, link, new, settle};
use crate::memory::{Fault, Memory};

type Looks = JoinSet<Result<bool, SubmitError>>;

fn look(looks: &mut Looks, sessions: &Sessions<Memory>, caller: Caller, id: &str) {
    let (sessions, id) = (sessions.clone(), id.to_owned());
    looks.spawn(async move { Ok(sessions.read_as(caller, &id).await?.is_some()) });
}

#[tokio::test(start_paused = true)]
async fn reads_are_batched_and_each_session_is_read_once() {
    let (store, sessions) = new(Limits { batch: 40, ..Limits::default() });
    store.slow_reads(SECOND);
    let mut looks = Looks::new();
    look(&mut looks, &sessions, Caller::default(), "first");
    settle().await;
    for number in 0..50 {
        look(&mut looks, &sessions, Caller::default(), &(number % 5).to_string());
    }
    let found = looks.join_all().await;
    assert!(found.into_iter().all(|found| found.unwrap()));
    assert_eq!(store.reads(), 3, "one alone, then 40 together, then 10");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_reads_is_refused_beyond_its_own_bound_and_delays_no_link() {
    let (store, sessions) = new(Limits { queue: 8, ..Limits::default() });
    store.read_weakly_as([]);
    store.slow_reads(SECOND);
    let mut looks = Looks::new();
    look(&mut looks, &sessions, Caller::default(), "first");
    settle().await;
    for number in 0..20 {
        look(&mut looks, &sessions, Caller::default(), &number.to_string());
    }
    settle().await;
    let started = Instant::now();
    for number in 0..30 {
        assert_eq!(change(sessions.submit(&number.to_string(), link("a")).await), Ok(LinkChange::First));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    let refused = looks.join_all().await.into_iter().filter(|look| matches!(look, Err(SubmitError::Full))).count();
    assert_eq!(refused, 12);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_fills_the_queue_is_refused_and_a_polite_one_is_not() {
    let (store, sessions) = new(Limits { queue: 8, batch: 8, ..Limits::default() });
    store.fail([Fault::Slow(SECOND)]);
    let (flood, polite) = (Caller::new("flood"), Caller::new("polite"));
    let mut links = JoinSet::new();
    let mut submit = |caller: &Caller, id: &str| {
        let (sessions, caller, id) = (sessions.clone(), caller.clone(), id.to_owned());
        links.spawn(async move { (caller.clone(), sessions.submit_as(caller, &id, link("a")).await) });
    };
    submit(&flood, "first");
    settle().await;
    for number in 0..20 {
        submit(&flood, &number.to_string());
    }
    settle().await;
    for number in 20..23 {
        submit(&polite, &number.to_string());
    }
    settle().await;
    sessions.probe(SECOND * 2).await.unwrap();
    let (mut refused, mut served) = (0, 0);
    for (caller, answer) in links.join_all().await {
        match answer {
            Err(SubmitError::Full) if caller == flood => refused += 1,
            answer => {
                assert_eq!(change(answer), Ok(LinkChange::First));
                served += usize::from(caller == polite);
            }
        }
    }
    assert_eq!((served, refused), (3, 16), "the three and the probe took the places of four of the flood");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_and_asks_again_at_once_asks_twice_a_second() {
    let (store, sessions) = new(Limits { queue: 1, request_timeout: SECOND * 100, ..Limits::default() });
    store.read_weakly_as([]);
    store.slow_reads(SECOND * 40);
    store.fail([Fault::Slow(SECOND * 40)]);
    let mut looks = Looks::new();
    for id in ["first", "chat"] {
        tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.submit(id, link("a")).await }
        });
        look(&mut looks, &sessions, Caller::default(), id);
        settle().await;
    }
    let started = Instant::now();
    for asked in 1..=10 {
        assert!(matches!(sessions.submit("1", link("a")).await, Err(SubmitError::Full)));
        assert!(matches!(sessions.read("1").await, Err(SubmitError::Full)));
        assert_eq!(started.elapsed(), SECOND * asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_no_one_waits_for_any_more_is_not_made() {
    let (store, sessions) = new(Limits::default());
    store.slow_reads(SECOND);
    let mut looks = Looks::new();
    look(&mut looks, &sessions, Caller::default(), "first");
    settle().await;
    let mut gone = Looks::new();
    look(&mut gone, &sessions, Caller::default(), "chat");
    settle().await;
    gone.shutdown().await;
    looks.join_all().await;
    sessions.stop().await;
    assert_eq!(store.reads(), 1);
}
