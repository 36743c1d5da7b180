//! The generators for downstream campaigns (features `proptest` and `arbitrary`): all they make is legal, and both ends of
//! every range do come up.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use midsession::testing::strategies::{self, Action, History, Situation};
use midsession::{
    Active, Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, EndUserField, Ended,
    Endpoint, LinkChange, LinkErrorKind, LinkRequest, OwnedLinkRequest, Param, Session, apply_link, limits,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use time::OffsetDateTime;

use crate::support::{EARLIEST, LATEST};

const ACCEPTED: &str = r#"{"message":"accepted"}"#;

/// What either feature makes: `proptest` first, then `arbitrary`.
fn made<T: proptest::arbitrary::Arbitrary + for<'a> Arbitrary<'a>>() -> [Vec<T>; 2] {
    [sample(any::<T>()), from_bytes(|u| Arbitrary::arbitrary(u))]
}

fn requests() -> [Vec<LinkRequest<'static>>; 2] {
    [sample(any::<LinkRequest<'static>>()), from_bytes(|u| u.arbitrary().map(LinkRequest::into_owned))]
}

fn sample<T: core::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    sample_of(2_000, strategy)
}

/// So many of the strategy's values, the same in each run.
pub fn sample_of<T: core::fmt::Debug>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn from_bytes<T>(read: impl Fn(&mut Unstructured<'_>) -> arbitrary::Result<T>) -> Vec<T> {
    // Made once, for all tests.
    static BYTES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let mut rng = TestRunner::deterministic().new_rng();
        let mut bytes = vec![vec![0; 512]; 2_000];
        for bytes in &mut bytes {
            rng.fill(&mut bytes[..]);
        }
        bytes
    });
    BYTES.iter().map(|bytes| read(&mut Unstructured::new(bytes)).unwrap()).collect()
}

#[test]
fn every_length_limit_and_its_neighbours_come_up_in_requests() {
    for requests in requests() {
        for &field in EndUserField::ALL {
            let texts = requests.iter().filter_map(|request| request.param(field).as_text());
            let lengths: BTreeSet<_> = texts.map(|text| text.chars().count()).collect();
            let max = field.max_chars();
            for length in [max - 1, max, max + 1] {
                assert!(lengths.contains(&length), "{field}: {length}");
            }
            for kind in [Param::Blank, Param::NotText] {
                assert!(requests.iter().any(|request| *request.param(field) == kind), "{field}: {kind:?}");
            }
        }
    }
}

#[test]
fn text_of_every_kind_comes_up_in_requests() {
    for requests in requests() {
        let texts: BTreeSet<&str> = requests.iter().filter_map(|request| request.name.as_text()).collect();
        assert!(texts.contains("' OR 1=1 --"), "text that has broken other software");
        assert!(texts.iter().any(|text| text.contains(char::is_control)));
        assert!(texts.iter().any(|text| text.chars().any(|character| character.len_utf8() == 4)));
        let letters: BTreeSet<char> = texts.iter().filter_map(|text| text.chars().nth(1)).collect();
        assert!(letters.len() > 30, "only {letters:?}");
    }
}

#[test]
fn every_length_limit_comes_up_in_end_users_and_each_is_one_that_a_store_takes_back() {
    for end_users in made::<EndUser>() {
        let length = |text: Option<&str>| text.map_or(0, |text| text.chars().count());
        let lengths = |of: &dyn Fn(&EndUser) -> usize| end_users.iter().map(of).collect::<BTreeSet<_>>();
        assert!(lengths(&|end_user| length(Some(end_user.identifier()))).is_superset(&[1, 255].into()));
        assert!(lengths(&|end_user| length(end_user.name())).is_superset(&[0, 1, 255].into()));
        assert!(lengths(&|end_user| length(end_user.email())).is_superset(&[0, 3, 254].into()));
        assert!(lengths(&|end_user| length(end_user.phone())).is_superset(&[0, 1, 64].into()));
        let mut phones = end_users.iter().filter_map(EndUser::phone);
        assert!(phones.any(|phone| !phone.contains(|digit: char| digit.is_ascii_digit())), "digits of another script");
        for end_user in end_users {
            let stored = serde_json::to_string(&end_user).unwrap();
            assert_eq!(serde_json::from_str::<EndUser>(&stored).unwrap(), end_user, "{stored}");
        }
    }
}

#[test]
fn sessions_come_up_in_every_state_and_each_is_one_that_a_store_takes_back() {
    for sessions in made::<AnySession>() {
        let anonymous = |session: &AnySession| session.end_user().is_none();
        let known = |session: &AnySession| session.end_user().is_some() && session.last_linked_at().is_none();
        let linked = |session: &AnySession| session.last_linked_at().is_some();
        let states: [&dyn Fn(&AnySession) -> bool; 3] = [&anonymous, &known, &linked];
        for state in states {
            for active in [true, false] {
                assert!(sessions.iter().any(|session| state(session) && session.is_active() == active));
            }
        }
        assert!(sessions.iter().any(|session| session.crm_support() == CrmSupport::Unsupported));
        assert!(sessions.iter().any(|session| session.comm_type() == CommType::Call));
        assert!(sessions.iter().any(|session| anonymous(session) && session.revision() > 1), "an erased one");
        for session in sessions {
            let stored = serde_json::to_string(&session).unwrap();
            assert_eq!(serde_json::from_str::<AnySession>(&stored).unwrap(), session, "{stored}");
        }
    }
}

#[test]
fn both_ends_of_intervals_and_of_time_come_up() {
    for policies in made::<DuplicatePolicy>() {
        for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            assert!(policies.iter().any(|policy| policy.interval() == interval), "{interval:?}");
        }
        for scope in DuplicateScope::ALL {
            assert!(policies.iter().any(|policy| policy.scope() == *scope));
        }
    }
    let moments = sample(strategies::moment_in_any_offset());
    assert!(moments.iter().any(|moment| moment.offset().is_negative()));
    assert!(moments.iter().any(|moment| moment.offset().is_positive()));
    for moments in [moments, sample(strategies::moment()), from_bytes(midsession::testing::arbitrary_moment)] {
        for end in [EARLIEST, LATEST] {
            assert!(moments.contains(&end), "{end}");
        }
        assert!(moments.iter().any(|moment| EARLIEST < *moment && *moment < OffsetDateTime::UNIX_EPOCH));
        assert!(moments.iter().any(|moment| OffsetDateTime::UNIX_EPOCH <= *moment && *moment < LATEST));
    }
}

#[test]
fn every_row_of_the_table_and_both_edges_of_the_interval_come_up_in_situations() {
    for situations in made::<Situation>() {
        let mut bodies = BTreeMap::<&str, usize>::new();
        let (mut from_edges, mut own_comm_type, mut leaked) = (BTreeSet::new(), 0, 0);
        for Situation { session, request, policy, now } in &situations {
            let decision = apply_link(session.as_ref(), request, policy, *now);
            *bodies.entry(Answer::from(&decision).body).or_default() += 1;
            let Some(session) = session else { continue };
            own_comm_type += usize::from(request.comm_type == session.comm_type().into());
            let has_phone = session.end_user().is_some_and(|end_user| end_user.phone().is_some());
            let relinked = decision.is_ok_and(|accepted| accepted.change() == LinkChange::Relinked);
            leaked += usize::from(relinked && has_phone && request.phone.is_blank());
            if let Some(last) = session.last_linked_at() {
                let elapsed = now.unix_timestamp_nanos() - last.unix_timestamp_nanos();
                let interval = i128::try_from(policy.interval().as_nanos()).unwrap();
                if interval > 10 {
                    from_edges.extend([("start", elapsed + interval), ("link", elapsed), ("end", elapsed - interval)]);
                }
            }
        }
        assert_eq!(bodies.len(), 12, "all messages of the contract: {bodies:?}");
        for edge in [("start", -1), ("start", 0), ("start", 1), ("link", 0), ("end", -1), ("end", 0), ("end", 1)] {
            assert!(from_edges.contains(&edge), "{edge:?}");
        }
        let all = situations.len();
        assert!(own_comm_type > all / 2, "most requests are for the session: {own_comm_type} of {all}");
        assert!(bodies[ACCEPTED] > all / 5, "many are accepted: {bodies:?}");
        assert!(bodies.values().all(|count| *count >= all / 1_000), "no answer is rare: {bodies:?}");
        assert!(leaked > all / 50, "{leaked} of {all} link another person, where a phone could be left over");
    }
}

/// Two of them are never the same, whatever a careless comparison says.
#[test]
fn the_two_people_of_a_pair_are_two_and_both_can_be_linked() {
    for pairs in [sample(strategies::near_identifiers()), from_bytes(midsession::testing::arbitrary_near_identifiers)] {
        for (one, other) in &pairs {
            assert_ne!(one, other);
            assert!(EndUser::new(one).is_ok() && EndUser::new(other).is_ok(), "{one:?} {other:?}");
        }
        let met = |one: &str, other: &str| pairs.contains(&(one.to_owned(), other.to_owned()));
        assert!(met("7", "07") && met("07", "7") && met("jane.doe", "Jane.Doe") && met("id-1", "id-1 "));
        assert!(pairs.iter().any(|(one, other)| one.chars().count() == 255 && other.chars().count() == 254));
    }
}

#[test]
fn near_people_and_near_fields_come_up_in_situations_and_in_histories() {
    let mut met = BTreeSet::new();
    for Situation { session, request, .. } in sample(strategies::situation()) {
        let linked = session.as_ref().and_then(AnySession::end_user).map(|end_user| end_user.identifier().to_owned());
        met.insert((linked, request.identifier.as_text().map(str::to_owned)));
    }
    let has = |one: &str, other: &str| met.contains(&(Some(one.to_owned()), Some(other.to_owned())));
    assert!(has("7", "07") && has("jane.doe", "Jane.Doe") && has("id-1", " id-1") && has("zo\u{eb}", "zoe\u{308}"));

    let mut phones = BTreeSet::new();
    for requests in sample(strategies::requests_of_two_people(12)) {
        assert!((1..=12).contains(&requests.len()));
        let people: BTreeSet<_> = requests.iter().map(|request| request.identifier.as_text().unwrap()).collect();
        assert!(people.len() <= 2, "{people:?}");
        phones.extend(requests.iter().filter_map(|request| Some(request.phone.as_text()?.to_owned())));
    }
    assert!(phones.contains("123-456-7890") && phones.contains("1234567890"));
}

#[test]
fn bodies_come_up_that_are_requests_and_that_are_not() {
    for bodies in [sample(strategies::body()), from_bytes(midsession::testing::arbitrary_body)] {
        let (requests, others): (Vec<_>, Vec<_>) =
            bodies.iter().partition(|body| serde_json::from_str::<LinkRequest>(body).is_ok());
        assert!(requests.len() > 100 && others.len() > 100);
        let twice = |body: &&&String| body.matches("\"identifier\"").count() == 2;
        assert!(others.iter().any(|body| twice(&body)), "a field given twice");
    }
}

/// What shrinking comes to when nothing fits a property, at proptest's own defaults: the value, and the runs it took.
fn shrunk<S: Strategy>(strategy: &S, fits: impl Fn(&S::Value) -> bool) -> (S::Value, u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let most = config.max_shrink_iters();
    let mut runner = TestRunner::new_with_rng(config, TestRunner::deterministic().new_rng());
    let (mut tree, mut runs) = (strategy.new_tree(&mut runner).unwrap(), 0);
    let mut tries = 0;
    while fits(&tree.current()) {
        tries += 1;
        assert!(tries < 20_000, "no value fails");
        tree = strategy.new_tree(&mut runner).unwrap();
    }
    let mut best = tree.current();
    let mut more = tree.simplify();
    while more {
        runs += 1;
        assert!(runs < most, "proptest aborts here");
        let simpler = tree.current();
        more = if fits(&simpler) {
            tree.complicate()
        } else {
            best = simpler;
            tree.simplify()
        };
    }
    assert!(!fits(&tree.current()), "it ends at a value that fails");
    (best, runs)
}

#[test]
fn a_failing_history_shrinks_to_three_steps_at_the_defaults_of_proptest() {
    fn changed(history: &History, change: LinkChange) -> bool {
        history.steps.iter().any(|step| {
            matches!(&step.action, Action::Link(attempt)
                if attempt.decision.as_ref().is_ok_and(|accepted| accepted.change() == change))
        })
    }
    fn refused(history: &History, kind: LinkErrorKind) -> bool {
        history.steps.iter().any(|step| {
            matches!(&step.action, Action::Link(attempt)
                if attempt.decision.as_ref().is_err_and(|error| error.kind() == kind))
        })
    }
    type Failure = (&'static str, fn(&History) -> bool);
    let failures: [Failure; 9] = [
        ("first", |history| changed(history, LinkChange::First)),
        ("unchanged", |history| changed(history, LinkChange::Unchanged)),
        ("refreshed", |history| changed(history, LinkChange::Refreshed)),
        ("relinked", |history| changed(history, LinkChange::Relinked)),
        ("duplicate", |history| refused(history, LinkErrorKind::Duplicate)),
        ("ended", |history| refused(history, LinkErrorKind::AlreadyEnded)),
        ("unsupported", |history| refused(history, LinkErrorKind::UnsupportedCrm)),
        ("lost race", |history| history.steps.iter().any(|step| step.meanwhile.is_some())),
        ("erasure", |history| {
            history.steps.iter().any(|step| matches!(step.action, Action::Erase) && step.stored.is_some())
        }),
    ];
    let mut lengths: Vec<_> = failures
        .iter()
        .map(|(name, fails)| (shrunk(&strategies::history(), |history| !fails(history)).0.steps.len(), *name))
        .collect();
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2].0 <= 3, "the median of {lengths:?}");
    assert!(lengths.iter().all(|(length, _)| *length <= 4), "{lengths:?}");
}

#[test]
fn a_failing_situation_shrinks_to_little_text_at_the_defaults_of_proptest() {
    let (situation, _) = shrunk(&strategies::situation(), |situation| {
        let Situation { session, request, policy, now } = situation;
        apply_link(session.as_ref(), request, policy, *now).is_err()
    });
    let text = format!("{situation:?}");
    assert!(text.len() < 800, "{} characters: {text}", text.len());
    assert!(!text.contains("<redacted>"), "{text}");
}

/// Any strategy can stand beside another: together they stay below the limit of shrinking, too.
#[test]
fn two_histories_in_a_tuple_shrink_at_the_defaults_of_proptest() {
    let (pair, _) =
        shrunk(&(strategies::history(), strategies::history()), |(one, other)| one.steps.len() + other.steps.len() < 2);
    assert_eq!(pair.0.steps.len() + pair.1.steps.len(), 2);
}

#[test]
fn addresses_are_of_many_letters_and_reach_the_limit_of_either_part() {
    for end_users in made::<EndUser>() {
        let addresses: Vec<_> = end_users.iter().filter_map(|end_user| end_user.email()?.split_once('@')).collect();
        let letters: BTreeSet<char> = addresses.iter().flat_map(|(user, _)| user.chars()).collect();
        assert!(letters.len() > 20, "{letters:?}");
        assert!(addresses.iter().any(|(user, _)| user.len() == 64));
        assert!(addresses.iter().any(|(_, domain)| domain.split('.').count() > 5));
    }
}

#[test]
fn paths_come_up_that_are_endpoints_and_that_are_not() {
    let paths = sample(strategies::path());
    let (endpoints, others): (Vec<_>, Vec<_>) = paths.iter().partition(|path| Endpoint::parse(path).is_some());
    assert!(endpoints.len() > 100 && others.len() > 100);
    let lengths: BTreeSet<_> = sample(strategies::session_id()).iter().map(String::len).collect();
    assert!(lengths.is_superset(&[1, limits::SESSION_ID_MAX_CHARS - 1, limits::SESSION_ID_MAX_CHARS].into()));
}

proptest! {
    #[test]
    fn acceptable_text_is_taken_and_unacceptable_text_is_not(
        (field, good, bad) in any::<EndUserField>().prop_flat_map(|field| {
            (Just(field), strategies::acceptable_text(field), strategies::unacceptable_text(field))
        }),
    ) {
        let set = |text: &str| {
            let end_user = EndUser::new("id-1").unwrap();
            match field {
                EndUserField::Identifier => EndUser::new(text),
                EndUserField::Name => end_user.with_name(text),
                EndUserField::Email => end_user.with_email(text),
                EndUserField::Phone => end_user.with_phone(text),
            }
        };
        prop_assert!(set(&good).is_ok(), "{:?}", good);
        prop_assert!(set(&bad).is_err(), "{:?}", bad);
    }

    #[test]
    fn acceptable_requests_get_past_the_fourth_row(request in strategies::acceptable_request(), now in strategies::moment()) {
        let session = AnySession::from(Session::start(request.comm_type.as_text().unwrap().parse().unwrap()));
        prop_assert!(apply_link(Some(&session), &request, &DuplicatePolicy::new(Duration::ZERO), now).is_ok());
    }
}

#[test]
fn every_input_type_has_both_traits() {
    fn borrowing<'a, T: proptest::arbitrary::Arbitrary + Arbitrary<'a>>() {}
    fn both<T: proptest::arbitrary::Arbitrary + for<'a> Arbitrary<'a>>() {}
    both::<AnySession>();
    both::<CommType>();
    both::<CrmSupport>();
    both::<DuplicatePolicy>();
    both::<DuplicateScope>();
    both::<EndUser>();
    both::<EndUserField>();
    both::<History>();
    both::<OwnedLinkRequest>();
    both::<Session<Active>>();
    both::<Session<Ended>>();
    both::<Situation>();
    borrowing::<LinkRequest<'static>>();
    borrowing::<Param<'static>>();
}
