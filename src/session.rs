use time::OffsetDateTime;

use crate::wire::serde_words;
use crate::words::words;
use crate::{Accepted, CommType, DuplicatePolicy, EndUser, LinkError};

/// A support session, as far as linking it to its end user goes, in the state `S`.
///
/// ```text
/// Session<Active> ── end(at) ──▶ Session<Ended>
///     │  ▲
///     └──┘ link(end_user, policy, now)
/// ```
///
/// `link` and `end` exist on `Session<Active>` alone: on `Session<Ended>` they do not compile. Use it where your code
/// knows the state; a store, which learns it at run time, hands back an [`AnySession`], and a request is decided by
/// [`apply_link`](crate::apply_link). You need name `S` only to store a session in a type of yours.
///
/// A session is a value: linking borrows it and returns the next one, so a refusal can neither change nor lose anything.
///
/// ```
/// use core::time::Duration;
/// use midsession::{CommType, DuplicatePolicy, EndUser, LinkChange, Session};
/// use time::macros::datetime;
///
/// let policy = DuplicatePolicy::new(Duration::from_secs(30));
/// let session = Session::start(CommType::Chat);
/// let linked = session.link(&EndUser::new("id-1")?, &policy, datetime!(2026-11-22 12:00 UTC))?;
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

/// The state of a session that goes on; see [`Session`].
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
    /// A new session: anonymous, never linked, of a CRM that takes links, at revision 0.
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

    /// The same session with this word on whether its CRM takes links.
    #[must_use]
    pub fn with_crm_support(self, crm_support: CrmSupport) -> Self {
        Self { crm_support, ..self }
    }

    /// The same session, known from its start to be this person's.
    ///
    /// That is no link: it starts no duplicate interval and leaves the revision alone. On a session that was linked it
    /// stands in for the person linked, with the interval running on.
    #[must_use]
    pub fn with_end_user(self, end_user: EndUser) -> Self {
        Self { end_user: Some(end_user), ..self }
    }

    /// Links the session to its verified end user: rows 7 to 9 of the [decision table](crate#the-decision).
    ///
    /// To an end user it is linked to already (the same identifier), fields that `end_user` leaves out keep their value;
    /// for another, everything is replaced and nothing of the former person is carried over. Which of these it was is
    /// [`Accepted::change`].
    ///
    /// # Errors
    /// - [`LinkError::UnsupportedCrm`]: the session's CRM takes no such update.
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

    /// Ends the session for good.
    #[must_use]
    pub fn end(self, at: OffsetDateTime) -> Session<Ended> {
        Self { revision: next(self.revision), ..self }.in_state(Ended { at })
    }

    pub(crate) fn in_state<S: State>(self, state: S) -> Session<S> {
        let Self { comm_type, crm_support, end_user, last_linked_at, revision, .. } = self;
        Session { comm_type, crm_support, end_user, last_linked_at, revision, state }
    }
}

/// The revision after this one.
///
/// It is compared for being equal and nothing else, so the one after the greatest may be any other.
pub(crate) const fn next(revision: u64) -> u64 {
    revision.wrapping_add(1)
}

impl<S: State> Session<S> {
    /// Whether it is a call or a chat.
    pub const fn comm_type(&self) -> CommType {
        self.comm_type
    }

    /// Whether its CRM takes links.
    pub const fn crm_support(&self) -> CrmSupport {
        self.crm_support
    }

    /// The person it is linked to; none while it is anonymous.
    pub const fn end_user(&self) -> Option<&EndUser> {
        self.end_user.as_ref()
    }

    /// When a link was last accepted.
    pub const fn last_linked_at(&self) -> Option<OffsetDateTime> {
        self.last_linked_at
    }

    /// The number of changes so far: each accepted link and the end raise it by one.
    ///
    /// Write a session back only `WHERE revision = <the one you read>`. Where no row matches, another server was first:
    /// read again and decide again.
    pub const fn revision(&self) -> u64 {
        self.revision
    }
}

impl Session<Ended> {
    /// When it ended.
    pub const fn ended_at(&self) -> OffsetDateTime {
        self.state.at
    }

    /// Removes the end user and the time of the last link, and raises the revision by one (*ours*).
    ///
    /// For a person who asks for their data to be deleted: the erased session is written to the store as any other
    /// change is. A session that holds neither is returned unchanged, so erasing twice is erasing once.
    ///
    /// ```
    /// use midsession::{AnySession, CommType, EndUser, Session};
    /// use time::macros::datetime;
    ///
    /// let session = Session::start(CommType::Chat).with_end_user(EndUser::new("id-1")?);
    /// let stored = AnySession::from(session.end(datetime!(2026-11-22 12:30 UTC)));
    ///
    /// let AnySession::Ended(ended) = stored else { unreachable!("it has just ended") };
    /// let erased = ended.erase();
    /// assert_eq!((erased.end_user(), erased.revision()), (None, 2));
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

/// A session as a store hands it back, its state known at run time only.
///
/// With serde it is an object that stays readable from version to version, its times in RFC 3339, and it is checked on
/// the way in:
///
/// ```
/// use midsession::{AnySession, CommType, Session};
/// use time::macros::datetime;
///
/// let session = AnySession::from(Session::start(CommType::Call)).end(datetime!(2026-11-22 12:30 UTC));
/// let stored = serde_json::to_string(&session)?;
/// assert_eq!(
///     stored,
///     r#"{"state":"ended","comm_type":"call","crm_support":"supported","ended_at":"2026-11-22T12:30:00Z","revision":1}"#,
/// );
/// assert_eq!(serde_json::from_str::<AnySession>(&stored)?, session);
///
/// let forged = stored.replace("ended_at", "began_at");
/// assert!(serde_json::from_str::<AnySession>(&forged).unwrap_err().to_string().contains("`ended_at` is missing"));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// Deserialising fails on:
/// - a record that breaks a rule: a field that is missing or of the wrong kind, an invalid end user, an ended session
///   without the time of its end, an active one with it, a time of linking without an end user;
/// - a known field given twice.
///
/// Either error names the field and never repeats what it holds. Serialising fails on a time that RFC 3339 cannot write
/// (a year before 0), and on nothing else of ours.
///
/// Exhaustive on purpose: a third state would be another contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnySession {
    /// It goes on.
    Active(Session<Active>),
    /// It has ended.
    Ended(Session<Ended>),
}

/// One getter, the same in both states.
macro_rules! in_any_state {
    ($self:ident.$getter:ident()) => {
        match $self {
            Self::Active(session) => session.$getter(),
            Self::Ended(session) => session.$getter(),
        }
    };
}

impl AnySession {
    /// Whether it goes on.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Whether it is a call or a chat.
    pub const fn comm_type(&self) -> CommType {
        in_any_state!(self.comm_type())
    }

    /// Whether its CRM takes links.
    pub const fn crm_support(&self) -> CrmSupport {
        in_any_state!(self.crm_support())
    }

    /// The person it is linked to; none while it is anonymous.
    pub const fn end_user(&self) -> Option<&EndUser> {
        in_any_state!(self.end_user())
    }

    /// When a link was last accepted.
    pub const fn last_linked_at(&self) -> Option<OffsetDateTime> {
        in_any_state!(self.last_linked_at())
    }

    /// The number of changes so far; see [`Session::revision`].
    pub const fn revision(&self) -> u64 {
        in_any_state!(self.revision())
    }

    /// When it ended; none while it goes on.
    pub const fn ended_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Active(_) => None,
            Self::Ended(session) => Some(session.ended_at()),
        }
    }

    /// Ends the session. One that has ended already keeps its first end, and its revision.
    #[must_use]
    pub fn end(self, at: OffsetDateTime) -> Self {
        match self {
            Self::Active(session) => Self::Ended(session.end(at)),
            Self::Ended(session) => Self::Ended(session),
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

/// Whether a session's CRM takes the end user's data; some integrations do not.
///
/// Exhaustive on purpose: the contract is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrmSupport {
    /// `supported`.
    #[default]
    Supported,
    /// `unsupported`: every link is refused.
    Unsupported,
}

words!(CrmSupport as "crm_support": Supported = "supported", Unsupported = "unsupported");
serde_words!(CrmSupport);
