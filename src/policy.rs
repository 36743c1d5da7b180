use alloc::format;
use alloc::string::String;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::de::serde_object;
use crate::string_enum::string_enum;
use crate::{EndUser, Param};

/// How long after an accepted link another link is a duplicate, and which links the rule applies to.
///
/// The published contract names no interval, so there is no default. With `elapsed = now - last_linked_at`, a link is a
/// duplicate exactly while `-interval < elapsed < interval`. At `elapsed == interval` it is accepted. A last link in the
/// future (a clock went backwards) blocks by the same rule. If it is a whole interval ahead or more, it does not block, so
/// a wrong clock cannot lock a session for hours. Only an accepted link starts the interval.
///
/// With serde, a policy has the form of a configuration file. `interval` is in seconds with an `s`, exact to the nanosecond
/// (up to nine decimals, as Protocol Buffers write a duration in JSON). `scope` may be left out. Any other key is refused,
/// so that a misspelt `scope` does not silently mean the default.
///
/// ```
/// use core::time::Duration;
/// use midsession::{DuplicatePolicy, DuplicateScope};
///
/// let text = r#"{"interval":"30s","scope":"same_identifier"}"#;
/// let policy: DuplicatePolicy = serde_json::from_str(text)?;
/// assert_eq!(policy.interval(), Duration::from_secs(30));
/// assert_eq!(policy.scope(), DuplicateScope::SameIdentifier);
///
/// let short = DuplicatePolicy::new(Duration::from_millis(1500));
/// let text = r#"{"interval":"1.5s","scope":"session"}"#;
/// assert_eq!(serde_json::to_string(&short)?, text);
/// assert!(serde_json::from_str::<DuplicatePolicy>(r#"{"intervall":"30s"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// Deserialising fails on:
/// - an `interval` that is missing, or is not seconds with an `s`;
/// - a `scope` that is not one of [`DuplicateScope`]'s words;
/// - an unknown key, or a key given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DuplicatePolicy {
    interval: Duration,
    scope: DuplicateScope,
}

impl DuplicatePolicy {
    /// A policy with this interval, and the scope [`DuplicateScope::Session`]. [`Duration::ZERO`] switches the check off.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, scope: DuplicateScope::Session }
    }

    /// The same policy with this scope.
    #[must_use]
    pub const fn with_scope(self, scope: DuplicateScope) -> Self {
        Self { scope, ..self }
    }

    /// How long after an accepted link another link is a duplicate.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Which links the interval applies to.
    pub const fn scope(&self) -> DuplicateScope {
        self.scope
    }

    /// Whether the interval applies to a link from `end_user` to `identifier`.
    pub(crate) fn applies_to(&self, end_user: Option<&EndUser>, identifier: &str) -> bool {
        match self.scope {
            DuplicateScope::Session => true,
            DuplicateScope::SameIdentifier => end_user.is_some_and(|linked| linked.identifier() == identifier),
        }
    }

    /// How long a link at `now` must wait after the one at `last_linked_at`; `None` if it is not a duplicate.
    pub(crate) fn wait(&self, last_linked_at: OffsetDateTime, now: OffsetDateTime) -> Option<Duration> {
        #[expect(clippy::arithmetic_side_effects, reason = "all dates lie within 20,000 years, so this fits")]
        let elapsed = now - last_linked_at;
        let apart = elapsed.unsigned_abs();
        let within = apart < self.interval;
        let ahead = elapsed.is_negative();
        within.then(|| if ahead { self.interval.saturating_add(apart) } else { self.interval.saturating_sub(apart) })
    }
}

/// Which links the duplicate interval applies to.
///
/// The enum is exhaustive on purpose: a new scope would change the decision.
///
/// ```
/// use midsession::DuplicateScope;
///
/// assert_eq!("same_identifier".parse(), Ok(DuplicateScope::SameIdentifier));
/// assert_eq!(DuplicateScope::default(), DuplicateScope::Session);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DuplicateScope {
    /// `session`: all links. The identity of a live session changes at most once an interval.
    #[default]
    Session,
    /// `same_identifier`: only links to the identifier that is linked now. A corrected identifier does not have to wait.
    SameIdentifier,
}

string_enum!(DuplicateScope as "scope": Session = "session", SameIdentifier = "same_identifier");

impl Serialize for DuplicatePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("interval", to_seconds(self.interval).as_str()), ("scope", self.scope.as_str())])
    }
}

impl<'de> Deserialize<'de> for DuplicatePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = PolicyFields::deserialize(deserializer)?;
        let interval = record.interval.as_text().and_then(from_seconds);
        let interval = interval.ok_or_else(|| D::Error::custom(INTERVAL_RULE))?;
        Ok(Self { interval, scope: record.scope.unwrap_or_default() })
    }
}

const INTERVAL_RULE: &str = "`interval` is invalid: expected seconds with an `s`, such as `30s` or `0.5s`";

#[derive(Default)]
struct PolicyFields<'a> {
    interval: Param<'a>,
    scope: Option<DuplicateScope>,
}

// A misspelt key must not silently mean the default.
serde_object!(PolicyFields: interval, scope; unknown: "unknown key in a duplicate policy: expected `interval` or `scope`");

fn to_seconds(interval: Duration) -> String {
    let seconds = format!("{}.{:09}", interval.as_secs(), interval.subsec_nanos());
    format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.'))
}

pub(crate) fn from_seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(decimals) || !(1..=9).contains(&decimals.len()) {
        return None;
    }
    Some(Duration::new(seconds.parse().ok()?, format!("{decimals:0<9}").parse().ok()?))
}
