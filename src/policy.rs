use alloc::format;
use alloc::string::String;
use core::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};
use time::OffsetDateTime;

use crate::wire::{self, FromAny, read_fields, serde_words};
use crate::words::words;
use crate::{EndUser, Param};

/// How long after an accepted link another one is a duplicate, and which one.
///
/// The published contract names no interval, so there is no default. With `elapsed = now - last_linked_at`, a link is a
/// duplicate exactly while `-interval < elapsed < interval`: at `elapsed == interval` it is accepted. A link from the
/// future (a clock that went backwards) blocks by the same rule, and not at all once it lies a whole interval ahead, so
/// that a bad clock cannot lock a session for hours. Only an accepted link starts the interval.
///
/// With serde it reads and writes as a config file has it: the interval in seconds with an `s`, exact to the nanosecond
/// (up to nine decimals, which is how Protocol Buffers write a duration in JSON), and the scope, which may be left out.
/// Any other key is refused, so that a misspelt one does not silently mean the default.
///
/// ```
/// use core::time::Duration;
/// use midsession::{DuplicatePolicy, DuplicateScope};
///
/// let policy: DuplicatePolicy = serde_json::from_str(r#"{"interval":"30s","scope":"same_identifier"}"#)?;
/// assert_eq!(policy, DuplicatePolicy::new(Duration::from_secs(30)).with_scope(DuplicateScope::SameIdentifier));
///
/// let brief = DuplicatePolicy::new(Duration::from_millis(1500));
/// assert_eq!(serde_json::to_string(&brief)?, r#"{"interval":"1.5s","scope":"session"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DuplicatePolicy {
    interval: Duration,
    scope: DuplicateScope,
}

impl DuplicatePolicy {
    /// The policy with this interval, for the whole session. [`Duration::ZERO`] switches duplicates off.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, scope: DuplicateScope::Session }
    }

    /// The same interval for this scope.
    #[must_use]
    pub const fn with_scope(self, scope: DuplicateScope) -> Self {
        Self { scope, ..self }
    }

    /// How long after an accepted link another one is a duplicate.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Which links can be duplicates.
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

    /// How long a link at `now` has to wait for the one at `last_linked_at`; none if it is no duplicate.
    pub(crate) fn wait(&self, last_linked_at: OffsetDateTime, now: OffsetDateTime) -> Option<Duration> {
        #[expect(
            clippy::arithmetic_side_effects,
            reason = "all dates lie within 20,000 years, a tiny part of the range"
        )]
        let elapsed = now - last_linked_at;
        let apart = elapsed.unsigned_abs();
        let within = apart < self.interval;
        let ahead = elapsed.is_negative();
        within.then(|| if ahead { self.interval.saturating_add(apart) } else { self.interval.saturating_sub(apart) })
    }
}

/// Which links the duplicate interval holds back.
///
/// Exhaustive on purpose: a policy that asks for another scope needs another decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DuplicateScope {
    /// `session`: all of them. A live session's identity changes at most once an interval.
    #[default]
    Session,
    /// `same_identifier`: links to the identifier that is linked now. A corrected identifier need not wait.
    SameIdentifier,
}

words!(DuplicateScope as "scope": Session = "session", SameIdentifier = "same_identifier");
serde_words!(DuplicateScope);

impl Serialize for DuplicatePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("interval", &to_seconds(self.interval))?;
        map.serialize_entry("scope", &self.scope)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for DuplicatePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record: Record<'_> = wire::any(deserializer)?;
        let interval = record.interval.as_text().and_then(from_seconds);
        let interval = interval.ok_or_else(|| D::Error::custom(INTERVAL_RULE))?;
        Ok(Self { interval, scope: record.scope.unwrap_or_default() })
    }
}

const INTERVAL_RULE: &str = "`interval` is invalid: expected seconds with an `s`, such as `30s` or `0.5s`";
const KEY_RULE: &str = "unknown key in a duplicate policy: expected `interval` or `scope`";

#[derive(Default)]
struct Record<'a> {
    interval: Param<'a>,
    scope: Option<DuplicateScope>,
}

impl<'de> FromAny<'de> for Record<'de> {
    fn other() -> Self {
        Self::default()
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut record = Self::default();
        // A misspelt key must not silently mean the default.
        read_fields!(map into record: interval, scope; unknown: return Err(A::Error::custom(KEY_RULE)))
    }
}

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
