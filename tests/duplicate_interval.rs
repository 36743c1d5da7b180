//! The duplicate interval: a duplicate exactly while `-interval < elapsed < interval`, and `retry_after` exact.

use core::time::Duration;

use midsession::testing::strategies;
use midsession::{
    Accepted, Active, Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, LinkError, Session,
    apply_link,
};
use proptest::prelude::*;
use time::OffsetDateTime;
use time::ext::NumericalDuration as _;

use crate::support::{EARLIEST, INTERVAL, LATEST, NOW, POLICY, assert_answer, end_user, linked, request};

const NANOSECOND: Duration = Duration::from_nanos(1);

fn link_at(session: &Session<Active>, policy: &DuplicatePolicy, now: OffsetDateTime) -> Result<Accepted, LinkError> {
    let typed = session.link(&end_user("id-1"), policy, now);
    let any = AnySession::from(session.clone());
    let run_time = apply_link(Some(&any), &request(r#"{"identifier":"id-1"}"#), policy, now);
    assert_eq!(typed, run_time, "the typed path and the run-time path decide alike");
    typed
}

fn linked_at(at: OffsetDateTime) -> Session<Active> {
    Session::start(CommType::Chat).link(&end_user("id-1"), &POLICY, at).unwrap().into_session()
}

#[track_caller]
fn assert_duplicate(session: &Session<Active>, policy: &DuplicatePolicy, now: OffsetDateTime, wait: Duration) {
    assert_eq!(link_at(session, policy, now).err(), Some(LinkError::Duplicate { retry_after: wait }));
}

#[track_caller]
fn assert_accepted(session: &Session<Active>, policy: &DuplicatePolicy, now: OffsetDateTime) {
    assert_answer(&link_at(session, policy, now), 202, "accepted");
}

#[test]
fn the_interval_is_closed_at_its_start_and_open_at_its_end() {
    let session = linked("id-1");
    assert_duplicate(&session, &POLICY, NOW, INTERVAL);
    assert_duplicate(&session, &POLICY, NOW + NANOSECOND, INTERVAL - NANOSECOND);
    assert_duplicate(&session, &POLICY, NOW + INTERVAL - NANOSECOND, NANOSECOND);
    assert_accepted(&session, &POLICY, NOW + INTERVAL);
    assert_accepted(&session, &POLICY, NOW + INTERVAL + NANOSECOND);
}

#[test]
fn a_clock_gone_backwards_blocks_by_less_than_the_interval_only() {
    let session = linked("id-1");
    assert_duplicate(&session, &POLICY, NOW - NANOSECOND, INTERVAL + NANOSECOND);
    assert_duplicate(&session, &POLICY, NOW - INTERVAL + NANOSECOND, INTERVAL * 2 - NANOSECOND);
    assert_accepted(&session, &POLICY, NOW - INTERVAL);
    assert_accepted(&session, &POLICY, NOW - INTERVAL - NANOSECOND);
    assert_accepted(&session, &POLICY, NOW - 3.hours());
}

#[test]
fn an_interval_of_zero_is_off() {
    let off = DuplicatePolicy::new(Duration::ZERO);
    for now in [NOW, NOW - NANOSECOND, NOW + NANOSECOND, EARLIEST, LATEST] {
        assert_accepted(&linked("id-1"), &off, now);
    }
}

#[test]
fn an_interval_of_a_nanosecond_blocks_the_same_moment_alone() {
    let brief = DuplicatePolicy::new(NANOSECOND);
    assert_duplicate(&linked("id-1"), &brief, NOW, NANOSECOND);
    assert_accepted(&linked("id-1"), &brief, NOW + NANOSECOND);
    assert_accepted(&linked("id-1"), &brief, NOW - NANOSECOND);
}

#[test]
fn the_longest_interval_blocks_always_and_its_wait_saturates() {
    let forever = DuplicatePolicy::new(Duration::MAX);
    assert_duplicate(&linked("id-1"), &forever, NOW, Duration::MAX);
    assert_duplicate(&linked("id-1"), &forever, NOW - 1.seconds(), Duration::MAX);
    assert_duplicate(&linked("id-1"), &forever, NOW + 1.seconds(), Duration::MAX - Duration::from_secs(1));
    let span = (LATEST - EARLIEST).unsigned_abs();
    assert_duplicate(&linked_at(EARLIEST), &forever, LATEST, Duration::MAX - span);
    assert_duplicate(&linked_at(LATEST), &forever, EARLIEST, Duration::MAX);
}

#[test]
fn the_earliest_and_the_latest_dates_are_dates_like_others() {
    assert_duplicate(&linked_at(LATEST), &POLICY, LATEST, INTERVAL);
    assert_duplicate(&linked_at(LATEST), &POLICY, LATEST - 1.seconds(), INTERVAL + Duration::from_secs(1));
    assert_duplicate(&linked_at(EARLIEST), &POLICY, EARLIEST, INTERVAL);
    assert_accepted(&linked_at(EARLIEST), &POLICY, LATEST);
    assert_accepted(&linked_at(LATEST), &POLICY, EARLIEST);
}

#[test]
fn moments_in_other_offsets_are_the_same_moments() {
    let elsewhere = NOW.to_offset(time::macros::offset!(+5:45));
    assert_duplicate(&linked_at(elsewhere), &POLICY, NOW + NANOSECOND, INTERVAL - NANOSECOND);
}

#[test]
fn a_session_never_linked_has_no_duplicates() {
    for session in [Session::start(CommType::Chat), Session::start(CommType::Chat).with_end_user(end_user("id-1"))] {
        assert_accepted(&session, &DuplicatePolicy::new(Duration::MAX), NOW);
    }
}

#[test]
fn the_session_scope_holds_back_every_identifier() {
    assert_eq!(POLICY.scope(), DuplicateScope::Session);
    let refused = linked("id-1").link(&end_user("id-2"), &POLICY, NOW).unwrap_err();
    assert_eq!(refused, LinkError::Duplicate { retry_after: INTERVAL });
}

#[test]
fn the_same_identifier_scope_holds_back_the_linked_identifier_alone() {
    let policy = POLICY.with_scope(DuplicateScope::SameIdentifier);
    assert_duplicate(&linked("id-1"), &policy, NOW, INTERVAL);
    let corrected = linked("id-1").link(&end_user("id-2"), &policy, NOW).unwrap().into_session();
    assert_accepted(&corrected, &policy, NOW);
    assert_eq!(corrected.link(&end_user("id-2"), &policy, NOW), Err(LinkError::Duplicate { retry_after: INTERVAL }));
    for other in ["ID-1", "id-1 ", "i\u{307}d-1"] {
        assert!(linked("id-1").link(&end_user(other), &policy, NOW).is_ok(), "identifiers are compared byte for byte");
    }
}

#[test]
fn a_refusal_neither_starts_nor_extends_the_interval() {
    let unsupported = Session::start(CommType::Chat).with_crm_support(CrmSupport::Unsupported);
    assert_eq!(link_at(&unsupported, &POLICY, NOW), Err(LinkError::UnsupportedCrm));
    assert_accepted(&unsupported.with_crm_support(CrmSupport::Supported), &POLICY, NOW);

    let session = linked("id-1");
    for second in (0..30).map(Duration::from_secs) {
        assert_duplicate(&session, &POLICY, NOW + second, INTERVAL - second);
    }
    assert_accepted(&session, &POLICY, NOW + INTERVAL);
}

#[test]
fn an_accepted_link_starts_the_interval_anew_even_if_nothing_changed() {
    let again = linked("id-1").link(&end_user("id-1"), &POLICY, NOW + INTERVAL).unwrap().into_session();
    assert_eq!(again.last_linked_at(), Some(NOW + INTERVAL));
    assert_duplicate(&again, &POLICY, NOW + INTERVAL, INTERVAL);
}

#[test]
fn the_answer_rounds_the_wait_up_to_whole_seconds() {
    let waits = [
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(999), 1),
        (Duration::from_secs(1), 1),
        (Duration::new(1, 1), 2),
        (Duration::new(29, 999_999_999), 30),
        (Duration::MAX, u64::MAX),
    ];
    for (retry_after, seconds) in waits {
        let answer = Answer::from(&LinkError::Duplicate { retry_after });
        assert_eq!((answer.retry_after, answer.retry_after_secs()), (Some(retry_after), Some(seconds)));
    }
    assert_eq!(Answer::from(&LinkError::NotFound).retry_after_secs(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_link_is_a_duplicate_exactly_inside_the_open_interval(
        last in strategies::moment_in_any_offset(),
        far in strategies::moment_in_any_offset(),
        near in -5_000_000_000..5_000_000_000_i64,
        nearby in any::<bool>(),
        interval in strategies::interval(),
    ) {
        let now = if nearby { last.saturating_add(time::Duration::nanoseconds(near)) } else { far };
        let elapsed = now.unix_timestamp_nanos() - last.unix_timestamp_nanos();
        let inside = elapsed.unsigned_abs() < interval.as_nanos();
        let decision = link_at(&linked_at(last), &DuplicatePolicy::new(interval), now);
        prop_assert_eq!(decision.is_err(), inside);
    }

    #[test]
    fn retry_after_is_the_first_nanosecond_that_is_accepted(
        last in strategies::moment_in_any_offset(),
        elapsed in -40_000_000_000..40_000_000_000_i64,
        interval in (0..=30_u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ) {
        let session = linked_at(last);
        let policy = DuplicatePolicy::new(interval);
        let now = last.saturating_add(time::Duration::nanoseconds(elapsed));
        if let Err(LinkError::Duplicate { retry_after }) = link_at(&session, &policy, now) {
            prop_assert!(retry_after > Duration::ZERO);
            let wait = time::Duration::try_from(retry_after).unwrap();
            if let Some(then) = now.checked_add(wait) {
                prop_assert!(link_at(&session, &policy, then).is_ok());
            }
            if let Some(before) = now.checked_add(wait - time::Duration::NANOSECOND) {
                let refused = link_at(&session, &policy, before).unwrap_err();
                prop_assert_eq!(refused, LinkError::Duplicate { retry_after: NANOSECOND });
            }
        }
    }
}
