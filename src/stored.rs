//! The stored form of a session. Reading it checks every rule.

use alloc::string::String;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{self, Serialize, SerializeMap, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::de::{self, serde_object};
use crate::end_user::Rules;
use crate::param::is_blank;
use crate::session::{Active, Ended, State};
use crate::{AnySession, EndUserError, LinkRequest, Param, Session};

const ACTIVE: &str = "active";
const ENDED: &str = "ended";

impl Serialize for AnySession {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Active(session) => session.serialize(serializer),
            Self::Ended(session) => session.serialize(serializer),
        }
    }
}

impl Serialize for Session<Active> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(None, serializer)
    }
}

impl Serialize for Session<Ended> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(Some(self.ended_at()), serializer)
    }
}

impl<T: State> Session<T> {
    fn write<S: Serializer>(&self, ended_at: Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        // A map and not a struct, which some formats write as an array.
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", if ended_at.is_none() { ACTIVE } else { ENDED })?;
        map.serialize_entry("comm_type", &self.comm_type)?;
        map.serialize_entry("crm_support", &self.crm_support)?;
        if let Some(end_user) = &self.end_user {
            map.serialize_entry("end_user", end_user)?;
        }
        for (field, at) in [("last_linked_at", self.last_linked_at), ("ended_at", ended_at)] {
            if let Some(at) = at {
                map.serialize_entry(field, &to_rfc3339(field, at)?)?;
            }
        }
        map.serialize_entry("revision", &self.revision)?;
        map.end()
    }
}

/// In UTC, so that equal moments have the same text. A moment whose year in UTC is not 0 to 9999, as RFC 3339 requires, is
/// written in its own offset.
fn to_rfc3339<E: ser::Error>(field: &str, at: OffsetDateTime) -> Result<String, E> {
    let utc = at.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()));
    let text = utc.unwrap_or(at).format(&Rfc3339);
    text.map_err(|_| E::custom(format_args!("`{field}` cannot be written in RFC 3339: its year must be 0 to 9999")))
}

impl<'de> Deserialize<'de> for AnySession {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredSession::deserialize(deserializer)?.check().map_err(D::Error::custom)
    }
}

/// What was stored, before it is checked.
#[derive(Default)]
struct StoredSession<'a> {
    state: Param<'a>,
    comm_type: Param<'a>,
    crm_support: Param<'a>,
    end_user: Option<LinkRequest<'a>>,
    last_linked_at: Param<'a>,
    ended_at: Param<'a>,
    revision: Option<Revision>,
}

serde_object!(StoredSession: state, comm_type, crm_support, end_user, last_linked_at, ended_at, revision);

impl StoredSession<'_> {
    fn check(self) -> Result<AnySession, StoredSessionError> {
        let state = required(&self.state, "state", |text| [ACTIVE, ENDED].into_iter().find(|state| *state == text))?;
        let session = Session {
            comm_type: required(&self.comm_type, "comm_type", |text| text.parse().ok())?,
            crm_support: required(&self.crm_support, "crm_support", |text| text.parse().ok())?,
            end_user: self.end_user.map(|end_user| end_user.to_end_user(Rules::Stored)).transpose()?,
            last_linked_at: optional(&self.last_linked_at, "last_linked_at", from_rfc3339)?,
            revision: self.revision.ok_or(StoredSessionError::Missing("revision"))?.0,
            state: Active(()),
        };
        if session.last_linked_at.is_some() && session.end_user.is_none() {
            return Err(StoredSessionError::Missing("end_user"));
        }
        match (state, optional(&self.ended_at, "ended_at", from_rfc3339)?) {
            (ACTIVE, None) => Ok(session.into()),
            (ACTIVE, Some(_)) => Err(StoredSessionError::Unexpected("ended_at")),
            (_, Some(at)) => Ok(session.in_state(Ended { at }).into()),
            (_, None) => Err(StoredSessionError::Missing("ended_at")),
        }
    }
}

type Parse<T> = fn(&str) -> Option<T>;

struct Revision(u64);

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let revision = de::unsigned(deserializer)?;
        revision.map(Self).ok_or_else(|| D::Error::custom(StoredSessionError::Invalid("revision")))
    }
}

fn required<T>(param: &Param<'_>, field: &'static str, parse: Parse<T>) -> Result<T, StoredSessionError> {
    optional(param, field, parse)?.ok_or(StoredSessionError::Missing(field))
}

fn optional<T>(param: &Param<'_>, field: &'static str, parse: Parse<T>) -> Result<Option<T>, StoredSessionError> {
    match param.text_or_blank() {
        Some(blank) if is_blank(blank) => Ok(None),
        text => text.and_then(parse).map(Some).ok_or(StoredSessionError::Invalid(field)),
    }
}

pub(crate) fn from_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Why a stored session cannot be read. It names the field and the rule, and never repeats a value.
#[derive(Debug, thiserror::Error)]
enum StoredSessionError {
    #[error("`{0}` is missing from the stored session")]
    Missing(&'static str),
    #[error("`{0}` of the stored session is invalid")]
    Invalid(&'static str),
    #[error("`{0}` is set in the stored session, which is active")]
    Unexpected(&'static str),
    #[error("`end_user` of the stored session: {0}")]
    EndUser(#[from] EndUserError),
}
