use time::OffsetDateTime;

use crate::string_enum::string_enum;
use crate::{Accepted, CommType, DuplicatePolicy, EndUser, LinkError};

/// A support session in the state `S`, with what is needed to link it to its end user.
///
/// ```text
/// Session<Active> ── end(at) ──▶ Session<Ended>
///     │  ▲                           │  ▲
///     └──┘ link(…), erase()          └──┘ erase()
/// ```
///
/// `link` and `end` exist only on `Session<Active>`; on `Session<Ended>` they do not compile. Use this type where your code
/// knows the state. A store knows it only at run time and returns an [`AnySession`]; requests are decided by
/// [`apply_link`](crate::apply_link). You need to name `S` only if a type of yours holds a session.
///
/// A session is a value. Linking borrows it and returns the next one, so a refusal changes nothing and loses nothing.
///
/// ```
/// use core::time::Duration;
/// use midsession::{CommType, DuplicatePolicy, EndUser, LinkChange, Session};
/// use time::macros::datetime;
///
/// let policy = DuplicatePolicy::new(Duration::from_secs(30));
/// let session = Session::start(CommType::Chat);
/// let end_user = EndUser::new("id-1")?;
/// let linked = session.link(&end_user, &policy, datetime!(2026-11-22 12:00 UTC))?;
/// assert_eq!(linked.change(), LinkChange::First);
///
/// let ended = linked.into_session().end(datetime!(2026-11-22 12:30 UTC));
/// assert_eq!(ended.end_user().map(EndUser::identifier), Some("id-1"));
/// assert_eq!(ended.revision(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session<S: State> {
    pub(crate) comm_type: CommType,
    pub(crate) crm_support: CrmSupport,
    pub(crate) end_user: Option<EndUser>,
    pub(crate) last_linked_at: Option<OffsetDateTime>,
    pub(crate) revision: u64,
    pub(crate) state: S,
}

/// The state of a session that has not ended; see [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Active(pub(crate) ());

/// The state of a session that has ended; see [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    pub(crate) at: OffsetDateTime,
}

/// The states of a [`Session`]: [`Active`] and [`Ended`]. Sealed: there are no others.
pub trait State: sealed::Sealed + Copy + core::fmt::Debug + Eq + core::hash::Hash + Send + Sync + 'static {}

impl State for Active {}
impl State for Ended {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Active {}
    impl Sealed for super::Ended {}
}

impl Session<Active> {
    /// A new session: anonymous, never linked, with a CRM that supports end-user updates, at revision 0.
    ///
    /// ```
    /// use midsession::{CommType, Session};
    ///
    /// let session = Session::start(CommType::Call);
    /// assert_eq!((session.end_user(), session.revision()), (None, 0));
    /// ```
    #[must_use]
    pub const fn start(comm_type: CommType) -> Self {
        Self {
            comm_type,
            crm_support: CrmSupport::Supported,
            end_user: None,
            last_linked_at: None,
            revision: 0,
            state: Active(()),
        }
    }

    /// The same session with this support by its CRM.
    ///
    /// Use it for a session that is not stored yet. The revision does not change, so a store cannot tell the two apart.
    #[must_use]
    pub fn with_crm_support(self, crm_support: CrmSupport) -> Self {
        Self { crm_support, ..self }
    }

    /// The same session with an end user who is known from the start.
    ///
    /// Use it for a session that is not stored yet. This is not a link: it starts no duplicate interval, and the revision
    /// does not change, so a store cannot tell the two sessions apart. If the session was linked before, the end user is
    /// replaced and the interval continues. To remove a person's data, use [`erase`](Session::erase).
    #[must_use]
    pub fn with_end_user(self, end_user: EndUser) -> Self {
        Self { end_user: Some(end_user), ..self }
    }

    /// Links the session to its verified end user: rows 7 to 9 of the [decision table](crate#the-decision).
    ///
    /// Requests go through [`apply_link`](crate::apply_link), which decides all rows.
    ///
    /// If the session is linked to the same identifier already, fields that `end_user` leaves out keep their value. For
    /// another identifier, everything is replaced. [`Accepted::change`] tells which it was.
    ///
    /// # Errors
    /// - [`LinkError::UnsupportedCrm`]: the session's CRM does not support end-user updates.
    /// - [`LinkError::Duplicate`]: `now` is inside the duplicate interval of the last accepted link.
    pub fn link(
        &self,
        end_user: &EndUser,
        policy: &DuplicatePolicy,
        now: OffsetDateTime,
    ) -> Result<Accepted, LinkError> {
        self.check(end_user.identifier(), policy, now)?;
        Ok(self.accept(end_user.fields(), now))
    }

    /// Ends the session, which cannot be undone, and raises the revision by one.
    #[must_use]
    pub fn end(self, at: OffsetDateTime) -> Session<Ended> {
        Self { revision: next(self.revision), ..self }.in_state(Ended { at })
    }

    pub(crate) fn in_state<S: State>(self, state: S) -> Session<S> {
        let Self { comm_type, crm_support, end_user, last_linked_at, revision, .. } = self;
        Session { comm_type, crm_support, end_user, last_linked_at, revision, state }
    }
}

/// The next revision.
///
/// Revisions are only compared for equality, so after the greatest one they may start again.
pub(crate) const fn next(revision: u64) -> u64 {
    revision.wrapping_add(1)
}

impl<S: State> Session<S> {
    /// Whether it is a call or a chat.
    pub const fn comm_type(&self) -> CommType {
        self.comm_type
    }

    /// Whether its CRM supports end-user updates.
    pub const fn crm_support(&self) -> CrmSupport {
        self.crm_support
    }

    /// The person that it is linked to; `None` while it is anonymous.
    pub const fn end_user(&self) -> Option<&EndUser> {
        self.end_user.as_ref()
    }

    /// The time of the last accepted link.
    pub const fn last_linked_at(&self) -> Option<OffsetDateTime> {
        self.last_linked_at
    }

    /// The number of changes so far. Each accepted link raises it by one; so do the end and an erasure.
    ///
    /// Write a session back only `WHERE revision = <the one you read>`. If no row matches, another server was first: read
    /// again and decide again.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Removes the end user and the time of the last link, and raises the revision by one (*ours*).
    ///
    /// Use it when a person asks for their data to be deleted. Write the erased session to the store as you write any
    /// other change: then a link that was decided before the erasure loses the race, and brings nothing back. An active
    /// session is anonymous again, so its next link is [`First`](crate::LinkChange::First). A session that has neither an end
    /// user nor a last link is returned unchanged, so it is harmless to erase twice.
    ///
    /// ```
    /// use midsession::{CommType, EndUser, Session};
    ///
    /// let session = Session::start(CommType::Chat).with_end_user(EndUser::new("id-1")?);
    /// let erased = session.erase();
    /// assert_eq!((erased.end_user(), erased.revision()), (None, 1));
    /// assert_eq!(erased.clone().erase(), erased);
    /// # Ok::<(), midsession::EndUserError>(())
    /// ```
    #[must_use]
    pub fn erase(self) -> Self {
        if self.end_user.is_none() && self.last_linked_at.is_none() {
            return self;
        }
        Self { end_user: None, last_linked_at: None, revision: next(self.revision), ..self }
    }
}

impl Session<Ended> {
    /// The time of its end.
    pub const fn ended_at(&self) -> OffsetDateTime {
        self.state.at
    }
}

/// A session as a store returns it, with a state that is known only at run time.
///
/// # The stored form
/// With serde, a session is an object with times in RFC 3339. Every later version can read it. Reading checks it:
///
/// ```
/// use midsession::{AnySession, CommType, Session};
/// use time::macros::datetime;
///
/// let session = AnySession::from(Session::start(CommType::Call));
/// let session = session.end(datetime!(2026-11-22 12:30 UTC));
/// let stored = serde_json::json!({
///     "state": "ended",
///     "comm_type": "call",
///     "crm_support": "supported",
///     "ended_at": "2026-11-22T12:30:00Z",
///     "revision": 1,
/// });
/// assert_eq!(serde_json::to_value(&session)?, stored);
/// assert_eq!(serde_json::from_value::<AnySession>(stored)?, session);
///
/// let error = serde_json::from_str::<AnySession>(r#"{"state":"ended"}"#).unwrap_err();
/// assert!(error.to_string().contains("`comm_type` is missing"));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Beside columns of your own
/// Keep the session in a field of its own:
///
/// ```
/// use midsession::{AnySession, CommType, Session};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Row {
///     tenant: String,
///     state: String, // your own, which has nothing to do with the session's
///     session: AnySession,
/// }
///
/// let session = Session::start(CommType::Chat).into();
/// let row = Row { tenant: "acme".into(), state: "escalated".into(), session };
/// let read: Row = serde_json::from_str(&serde_json::to_string(&row)?)?;
/// assert_eq!((read.state, read.session), (row.state, row.session));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// `#[serde(flatten)]` works only while none of your fields has one of these reserved names: `state`, `comm_type`,
/// `crm_support`, `end_user`, `last_linked_at`, `ended_at`, `revision`. With such a field, the row is **written without an
/// error and can never be read again**, because it has the key twice.
///
/// # Errors
/// Deserialising fails on:
/// - a field that is missing or has the wrong kind of value;
/// - an end user without an identifier, or with a field that is too long or has a control character;
/// - an ended session without the time of its end, or an active one with it;
/// - a time of the last link without an end user;
/// - a known field given twice.
///
/// These errors name the field and never repeat its value. E-mail addresses are not validated again, so what was stored
/// once can always be read. Serialising fails on:
/// - a time that RFC 3339 cannot write, such as one before the year 0.
///
/// The enum is exhaustive on purpose: the contract has no third state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnySession {
    /// The session has not ended.
    Active(Session<Active>),
    /// The session has ended.
    Ended(Session<Ended>),
}

impl AnySession {
    /// Whether it has not ended.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Whether it is a call or a chat.
    pub const fn comm_type(&self) -> CommType {
        let (Self::Active(Session { comm_type, .. }) | Self::Ended(Session { comm_type, .. })) = self;
        *comm_type
    }

    /// Whether its CRM supports end-user updates.
    pub const fn crm_support(&self) -> CrmSupport {
        let (Self::Active(Session { crm_support, .. }) | Self::Ended(Session { crm_support, .. })) = self;
        *crm_support
    }

    /// The person that it is linked to; `None` while it is anonymous.
    pub const fn end_user(&self) -> Option<&EndUser> {
        let (Self::Active(Session { end_user, .. }) | Self::Ended(Session { end_user, .. })) = self;
        end_user.as_ref()
    }

    /// The time of the last accepted link.
    pub const fn last_linked_at(&self) -> Option<OffsetDateTime> {
        let (Self::Active(Session { last_linked_at, .. }) | Self::Ended(Session { last_linked_at, .. })) = self;
        *last_linked_at
    }

    /// The number of changes so far; see [`Session::revision`].
    pub const fn revision(&self) -> u64 {
        let (Self::Active(Session { revision, .. }) | Self::Ended(Session { revision, .. })) = self;
        *revision
    }

    /// The time of its end; `None` if it has not ended.
    pub const fn ended_at(&self) -> Option<OffsetDateTime> {
        if let Self::Ended(session) = self { Some(session.ended_at()) } else { None }
    }

    /// Ends the session. A session that has already ended is returned unchanged.
    ///
    /// ```
    /// use midsession::{AnySession, CommType, Session};
    /// use time::macros::datetime;
    ///
    /// let session = AnySession::from(Session::start(CommType::Chat));
    /// let ended = session.end(datetime!(2026-11-22 12:00 UTC));
    /// assert_eq!(ended.clone().end(datetime!(2026-11-22 13:00 UTC)), ended);
    /// ```
    #[must_use]
    pub fn end(self, at: OffsetDateTime) -> Self {
        let Self::Active(session) = self else { return self };
        session.end(at).into()
    }

    /// Removes the end user and the time of the last link, and raises the revision by one (*ours*); see [`Session::erase`].
    ///
    /// ```
    /// use midsession::{AnySession, CommType, EndUser, Session};
    ///
    /// let session = Session::start(CommType::Chat).with_end_user(EndUser::new("id-1")?);
    /// let erased = AnySession::from(session).erase();
    /// assert_eq!((erased.end_user(), erased.is_active()), (None, true));
    /// # Ok::<(), midsession::EndUserError>(())
    /// ```
    #[must_use]
    pub fn erase(self) -> Self {
        match self {
            Self::Active(session) => Self::Active(session.erase()),
            Self::Ended(session) => Self::Ended(session.erase()),
        }
    }
}

impl From<Session<Active>> for AnySession {
    fn from(session: Session<Active>) -> Self {
        Self::Active(session)
    }
}

impl From<Session<Ended>> for AnySession {
    fn from(session: Session<Ended>) -> Self {
        Self::Ended(session)
    }
}

/// Whether a session's CRM supports end-user updates. Some integrations do not.
///
/// The enum is exhaustive on purpose: the contract is closed.
///
/// ```
/// use midsession::{CommType, CrmSupport, Session};
///
/// let session = Session::start(CommType::Call);
/// let session = session.with_crm_support(CrmSupport::Unsupported);
/// assert_eq!(session.crm_support().as_str(), "unsupported");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrmSupport {
    /// `supported`.
    #[default]
    Supported,
    /// `unsupported`: every link is refused.
    Unsupported,
}

string_enum!(CrmSupport as "crm_support": Supported = "supported", Unsupported = "unsupported");
