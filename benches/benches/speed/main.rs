//! How long everything takes, beside its peers; at the end, the tables of the README and the plot of the scale.

mod report;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion};
use governor::clock::{Clock, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use midsession::{AnySession, CommType, Session, apply_link};
use midsession_benches::scale::{NUMBERS, RandomIds, id, linked_sessions};
use midsession_benches::{
    AFTER, BODY, INSIDE, INTERVAL, LINKED_AT, POLICY, handwritten, linked_chat, sample_end_user, sample_request, work,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo's own place for what it builds, wherever that is.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&target)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    request(criterion.benchmark_group("request"));
    apply(criterion.benchmark_group("apply"));
    decide(criterion.benchmark_group("decide"));
    peer(criterion.benchmark_group("peer"));
    session(criterion.benchmark_group("session"));
    scale(criterion.benchmark_group("scale"));
    criterion.final_summary();
    // Ratios are of one run: not of a part of it, and what an earlier one left.
    if std::env::args().skip(1).eq(["--bench"]) {
        report::write(&target)?;
    }
    Ok(())
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn request(mut group: Group) {
    let session = AnySession::from(Session::start(CommType::Chat));
    group.bench_function("midsession", |bencher| bencher.iter(|| work::request(&session, AFTER)));
    let session = handwritten::Session {
        comm_type: "chat".to_owned(),
        crm_supported: true,
        end_user: None,
        last_linked_at: None,
        ended_at: None,
        revision: 0,
    };
    group.bench_function("handwritten", |bencher| {
        bencher.iter(|| {
            let session = black_box(Some(&session));
            handwritten::link(session, black_box("chat"), black_box(BODY), black_box(INTERVAL), black_box(AFTER))
        });
    });
    group.bench_function("parse_only", |bencher| bencher.iter(work::parse_only));
    group.bench_function("parse_borrowed", |bencher| bencher.iter(work::parse_borrowed));
}

fn apply(mut group: Group) {
    let anonymous = AnySession::from(Session::start(CommType::Chat));
    let request = sample_request();
    for (name, session, now) in [
        ("accept", anonymous.clone(), AFTER),
        ("duplicate", linked_chat(), INSIDE),
        ("ended", anonymous.end(LINKED_AT), AFTER),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| work::apply(&session, &request, now)));
    }
}

fn decide(mut group: Group) {
    let AnySession::Active(session) = linked_chat() else { unreachable!("it goes on") };
    let end_user = sample_end_user();
    for (name, now) in [("accept", AFTER), ("duplicate", INSIDE)] {
        group.bench_function(name, |bencher| bencher.iter(|| work::decide(&session, &end_user, now)));
    }
    group.bench_function("floor", |bencher| {
        bencher.iter(|| (black_box(INSIDE) - black_box(LINKED_AT)).unsigned_abs() < black_box(INTERVAL));
    });
}

fn peer(mut group: Group) {
    // The same question as `decide/duplicate`: is it too soon, and how long to wait. As it comes, with a clock of its own.
    let quota = Quota::with_period(INTERVAL).expect("an interval that is not zero");
    let session = id(1);
    let limiter = RateLimiter::keyed(quota);
    limiter.check_key(&session).expect("the first is let through");
    group.bench_function("governor_keyed", |bencher| {
        bencher.iter(|| {
            limiter.check_key(black_box(&session)).map_err(|until| until.wait_time_from(limiter.clock().now()))
        });
    });
    // And told the time, as we are.
    let clock = FakeRelativeClock::default();
    let limiter = RateLimiter::dashmap_with_clock(quota, clock.clone());
    limiter.check_key(&session).expect("the first is let through");
    group.bench_function("governor_keyed_told_the_time", |bencher| {
        bencher.iter(|| limiter.check_key(black_box(&session)).map_err(|until| until.wait_time_from(clock.now())));
    });

    let mut machine = by_statig::machine();
    group.bench_function("statig", |bencher| bencher.iter(|| machine.handle(black_box(&by_statig::Event::Link))));
    machine.handle(&by_statig::Event::End);
    assert!(matches!(machine.state(), by_statig::State::Ended {}), "the machine ends as a session does");

    let mut machine = by_rust_fsm::StateMachine::new();
    group.bench_function("rust_fsm", |bencher| {
        bencher.iter(|| machine.consume(black_box(&by_rust_fsm::Input::Link)).is_ok());
    });
    assert!(machine.consume(&by_rust_fsm::Input::End).is_ok(), "the machine ends as a session does");
    assert!(machine.consume(&by_rust_fsm::Input::Link).is_err(), "an ended one takes no links");
}

mod by_statig {
    use statig::prelude::*;

    pub enum Event {
        Link,
        End,
    }

    #[derive(Default)]
    pub struct Lifecycle;

    #[state_machine(initial = "State::active()")]
    impl Lifecycle {
        #[state]
        fn active(event: &Event) -> Outcome<State> {
            match event {
                Event::Link => Handled,
                Event::End => Transition(State::ended()),
            }
        }

        #[state]
        fn ended() -> Outcome<State> {
            Handled
        }
    }

    pub fn machine() -> statig::blocking::StateMachine<Lifecycle> {
        Lifecycle.state_machine()
    }
}

rust_fsm::state_machine! {
    by_rust_fsm(Active)

    Active => {
        Link => Active,
        End => Ended,
    }
}

fn session(mut group: Group) {
    let session = linked_chat();
    let json = work::json_out(&session);
    group.bench_function("start", |bencher| bencher.iter(|| Session::start(black_box(CommType::Chat))));
    group.bench_function("end", |bencher| {
        bencher.iter_batched(|| session.clone(), |session| session.end(black_box(AFTER)), BatchSize::SmallInput);
    });
    group.bench_function("json_out", |bencher| bencher.iter(|| work::json_out(&session)));
    group.bench_function("json_in", |bencher| bencher.iter(|| work::json_in(&json)));
}

fn scale(mut group: Group) {
    let request = sample_request();
    for n in NUMBERS {
        let sessions = linked_sessions(n);
        let ids = RandomIds::of(n);
        let mut find = ids.cycle().map(|id| sessions.get(black_box(id)));
        group.bench_function(BenchmarkId::new("lookup", n), |bencher| bencher.iter(|| find.next()));
        let mut apply =
            |now| apply_link(find.next().flatten(), black_box(&request), black_box(&POLICY), black_box(now));
        group.bench_function(BenchmarkId::new("duplicate", n), |bencher| bencher.iter(|| apply(INSIDE)));
        group.bench_function(BenchmarkId::from_parameter(n), |bencher| bencher.iter(|| apply(AFTER)));
    }
}
