//! What a fuzzer's bytes build (feature `arbitrary`), and what the seeds of a property test build (feature `proptest`): the
//! same in each release, so that the corpus and the regressions that a team keeps go on meaning what they meant. Whoever
//! changes a generator on purpose changes `golden/generators.tsv`, and the changelog says so.

use core::fmt::Write;

use arbitrary::{Arbitrary, Unstructured};
use midsession::testing::strategies::{self, Action, History, Situation, Step};
use midsession::testing::{
    arbitrary_body, arbitrary_moment, arbitrary_near_identifiers, arbitrary_path, arbitrary_requests_of_two_people,
};
use midsession::{
    Active, Answer, AnySession, DuplicatePolicy, EndUser, EndUserField, Ended, LinkRequest, Param, Session,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use time::OffsetDateTime;

#[test]
fn the_same_bytes_and_the_same_seeds_build_the_same_values_in_each_release() {
    let mut digests = String::new();
    for (name, digest) in of_bytes().into_iter().chain(of_seeds()) {
        writeln!(digests, "{name}\t{digest:016x}").unwrap();
    }
    assert!(
        digests == include_str!("golden/generators.tsv"),
        "other values are built now; if that is meant, this is the new `golden/generators.tsv`:\n{digests}"
    );
}

fn of_bytes() -> [(&'static str, u64); 14] {
    fn of(name: &str, build: fn(&mut Unstructured<'_>) -> arbitrary::Result<Value>) -> (&str, u64) {
        (name, digest(inputs().map(|bytes| build(&mut Unstructured::new(&bytes)).unwrap())))
    }
    [
        of("AnySession", |u| Ok(json!(AnySession::arbitrary(u)?))),
        of("DuplicatePolicy", |u| Ok(json!(DuplicatePolicy::arbitrary(u)?))),
        of("EndUser", |u| Ok(json!(EndUser::arbitrary(u)?))),
        of("History", |u| Ok(history(&History::arbitrary(u)?))),
        of("LinkRequest", |u| Ok(json!(LinkRequest::arbitrary(u)?))),
        of("Param", |u| Ok(param(Param::arbitrary(u)?))),
        of("Session<Active>", |u| Ok(json!(AnySession::from(Session::<Active>::arbitrary(u)?)))),
        of("Session<Ended>", |u| Ok(json!(AnySession::from(Session::<Ended>::arbitrary(u)?)))),
        of("Situation", |u| Ok(situation(&Situation::arbitrary(u)?))),
        of("arbitrary_body", |u| Ok(json!(arbitrary_body(u)?))),
        of("arbitrary_moment", |u| Ok(moment(arbitrary_moment(u)?))),
        of("arbitrary_near_identifiers", |u| Ok(json!(arbitrary_near_identifiers(u)?))),
        of("arbitrary_path", |u| Ok(json!(arbitrary_path(u)?))),
        of("arbitrary_requests_of_two_people", |u| Ok(json!(arbitrary_requests_of_two_people(u, 12)?))),
    ]
}

fn of_seeds() -> [(&'static str, u64); 13] {
    fn of(name: &str, build: impl Fn(u8) -> Value) -> (&str, u64) {
        (name, digest((0..128).map(build)))
    }
    let fields = || EndUserField::ALL.iter().copied();
    [
        of("strategies::acceptable_text", |seed| {
            fields().map(|field| seeded(&strategies::acceptable_text(field), seed)).collect()
        }),
        of("strategies::body", |seed| json!(seeded(&strategies::body(), seed))),
        of("strategies::duplicate_policy", |seed| json!(seeded(&strategies::duplicate_policy(), seed))),
        of("strategies::end_user", |seed| json!(seeded(&strategies::end_user(), seed))),
        of("strategies::history", |seed| history(&seeded(&strategies::history(), seed))),
        of("strategies::hostile_text", |seed| json!(seeded(&strategies::hostile_text(), seed))),
        of("strategies::moment", |seed| moment(seeded(&strategies::moment(), seed))),
        of("strategies::param", |seed| param(seeded(&strategies::param(), seed))),
        of("strategies::path", |seed| json!(seeded(&strategies::path(), seed))),
        of("strategies::session", |seed| json!(seeded(&strategies::session(), seed))),
        of("strategies::session_id", |seed| json!(seeded(&strategies::session_id(), seed))),
        of("strategies::situation", |seed| situation(&seeded(&strategies::situation(), seed))),
        of("strategies::unacceptable_text", |seed| {
            fields().map(|field| seeded(&strategies::unacceptable_text(field), seed)).collect()
        }),
    ]
}

/// What the strategy makes of random numbers that are all known.
fn seeded<S: Strategy>(strategy: &S, seed: u8) -> S::Value {
    let bytes: Vec<u8> = (0..64).map(|at: u8| seed.wrapping_mul(31) ^ at.wrapping_mul(89)).collect();
    let rng = TestRng::from_seed(RngAlgorithm::PassThrough, &bytes);
    strategy.new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)).unwrap().current()
}

fn param(param: Param<'_>) -> Value {
    json!(LinkRequest { name: param, ..LinkRequest::default() })
}

fn history(history: &History) -> Value {
    json!([history.policy, history.steps.iter().map(step).collect::<Vec<_>>()])
}

fn step(step: &Step) -> Value {
    let action = match &step.action {
        Action::Start(session) => json!(AnySession::from(session.clone())),
        Action::Link(attempt) => {
            let answer = Answer::from(&attempt.decision);
            json!([attempt.path, attempt.body, attempt.request, answer.body, answer.retry_after])
        }
        Action::End => json!("end"),
        Action::Erase => json!("erase"),
    };
    json!([moment(step.now), step.session_id, action, step.meanwhile, step.stored])
}

fn situation(situation: &Situation) -> Value {
    let Situation { session, request, policy, now } = situation;
    json!([session, request, policy, moment(*now)])
}

/// In nanoseconds: not every moment can be written in RFC 3339.
fn moment(at: OffsetDateTime) -> Value {
    json!(at.unix_timestamp_nanos().to_string())
}

/// Bytes at random, the same in each run, from none to 510.
fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0_u64;
    let mut random = move || {
        // The numbers of Knuth's MMIX.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..512_usize).step_by(2).map(move |length| (0..length).map(|_| random()).collect())
}

/// By the hash FNV-1a, which no release of the standard library changes.
fn digest(values: impl Iterator<Item = Value>) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    values.fold(0xcbf2_9ce4_8422_2325, |digest, value| value.to_string().bytes().fold(digest, hash))
}
