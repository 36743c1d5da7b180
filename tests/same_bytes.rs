//! What a fuzzer's bytes build (feature `arbitrary`): the same in each release, so that the corpus that a team keeps goes on
//! meaning what it meant. Whoever changes a generator on purpose changes `golden/generators.tsv`, and the changelog says so.

use core::fmt::Write;

use arbitrary::{Arbitrary, Unstructured};
use midsession::testing::strategies::{Action, History, Situation, Step};
use midsession::testing::{
    arbitrary_body, arbitrary_moment, arbitrary_near_identifiers, arbitrary_path, arbitrary_requests_of_two_people,
};
use midsession::{Active, Answer, AnySession, DuplicatePolicy, EndUser, Ended, LinkRequest, Param, Session};
use serde_json::{Value, json};
use time::OffsetDateTime;

#[test]
fn the_same_bytes_build_the_same_values_in_each_release() {
    type Build = fn(&mut Unstructured<'_>) -> arbitrary::Result<Value>;
    let generators: [(&str, Build); 14] = [
        ("AnySession", |u| Ok(json!(AnySession::arbitrary(u)?))),
        ("DuplicatePolicy", |u| Ok(json!(DuplicatePolicy::arbitrary(u)?))),
        ("EndUser", |u| Ok(json!(EndUser::arbitrary(u)?))),
        ("History", |u| Ok(history(&History::arbitrary(u)?))),
        ("LinkRequest", |u| Ok(json!(LinkRequest::arbitrary(u)?))),
        ("Param", |u| Ok(json!(LinkRequest { name: Param::arbitrary(u)?, ..LinkRequest::default() }))),
        ("Session<Active>", |u| Ok(json!(AnySession::from(Session::<Active>::arbitrary(u)?)))),
        ("Session<Ended>", |u| Ok(json!(AnySession::from(Session::<Ended>::arbitrary(u)?)))),
        ("Situation", |u| Ok(situation(&Situation::arbitrary(u)?))),
        ("arbitrary_body", |u| Ok(json!(arbitrary_body(u)?))),
        ("arbitrary_moment", |u| Ok(moment(arbitrary_moment(u)?))),
        ("arbitrary_near_identifiers", |u| Ok(json!(arbitrary_near_identifiers(u)?))),
        ("arbitrary_path", |u| Ok(json!(arbitrary_path(u)?))),
        ("arbitrary_requests_of_two_people", |u| Ok(json!(arbitrary_requests_of_two_people(u, 12)?))),
    ];
    let mut digests = String::new();
    for (name, build) in generators {
        let values = inputs().map(|bytes| build(&mut Unstructured::new(&bytes)).unwrap());
        let digest = values.fold(FNV_START, |digest, value| fnv(digest, &value.to_string()));
        writeln!(digests, "{name}\t{digest:016x}").unwrap();
    }
    assert!(
        digests == include_str!("golden/generators.tsv"),
        "bytes build other values now; if that is meant, this is the new `golden/generators.tsv`:\n{digests}"
    );
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

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash FNV-1a, which no release of the standard library changes.
fn fnv(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
