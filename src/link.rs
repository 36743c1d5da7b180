use time::OffsetDateTime;

use crate::end_user::{EndUserFields, Rules};
use crate::session::{Active, next};
use crate::string_enum::string_enum;
use crate::{
    AnySession, CrmSupport, DuplicatePolicy, EndUser, EndUserError, LinkError, LinkRequest, RequiredParam, Session,
};

/// Decides a request to link `session` to its end user: the [decision table](crate#the-decision), row by row.
///
/// ![The first check that says yes gives the answer; if none does, the link is accepted.][decision.svg]
///
/// `session` is what your store has under the request's id, or `None`. `now` is the time of your clock. Nothing is changed:
/// if the link is accepted, store the session of [`Accepted`]; if it is refused, there is nothing to store. After a lost
/// race (see [`Session::revision`]), decide the same request again on the session as it is now.
///
/// ```
/// use core::time::Duration;
/// use midsession::{AnySession, CommType, DuplicatePolicy, LinkError, LinkRequest};
/// use midsession::{Session, apply_link};
/// use time::macros::datetime;
///
/// let policy = DuplicatePolicy::new(Duration::from_secs(30));
/// let session = AnySession::from(Session::start(CommType::Chat));
/// let request: LinkRequest = serde_json::from_str(r#"{"identifier":"id-1"}"#)?;
/// let request = request.with_comm_type(CommType::Chat);
///
/// let now = datetime!(2026-11-22 12:00:00 UTC);
/// let accepted = apply_link(Some(&session), &request, &policy, now)?;
/// let session = AnySession::from(accepted.into_session());
/// assert_eq!(session.last_linked_at(), Some(now));
///
/// let later = datetime!(2026-11-22 12:00:10 UTC);
/// let refused = apply_link(Some(&session), &request, &policy, later);
/// let retry_after = Duration::from_secs(20);
/// assert_eq!(refused, Err(LinkError::Duplicate { retry_after }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first of these that applies:
/// - [`LinkError::MissingParam`]: the comm type is blank.
/// - [`LinkError::MissingParam`]: the identifier is blank.
/// - [`LinkError::InvalidParam`]: a field is present but not valid (*ours*).
/// - [`LinkError::NotFound`]: the comm type is neither `call` nor `chat`.
/// - [`LinkError::NotFound`]: the session is unknown (*ours*), or has the other comm type.
/// - [`LinkError::AlreadyEnded`]: the session has ended.
/// - [`LinkError::UnsupportedCrm`]: its CRM does not support end-user updates.
/// - [`LinkError::Duplicate`]: `now` is inside the duplicate interval of the last accepted link.
///
#[doc = include_str!("../docs/decision.link.md")]
pub fn apply_link(
    session: Option<&AnySession>,
    request: &LinkRequest<'_>,
    policy: &DuplicatePolicy,
    now: OffsetDateTime,
) -> Result<Accepted, LinkError> {
    if request.comm_type.is_blank() {
        return Err(LinkError::MissingParam(RequiredParam::CommType));
    }
    let fields = request.fields(Rules::Current).map_err(EndUserError::into_link_error)?;
    // Rows 4 and 5 in one: no session has an unknown comm type.
    let session = session.filter(|session| request.is_for(session.comm_type())).ok_or(LinkError::NotFound)?;
    let AnySession::Active(session) = session else { return Err(LinkError::AlreadyEnded(session.comm_type())) };
    session.check(fields.identifier, policy, now)?;
    Ok(session.accept(fields, now))
}

impl Session<Active> {
    /// Rows 7 and 8 of the table.
    #[inline]
    pub(crate) fn check(
        &self,
        identifier: &str,
        policy: &DuplicatePolicy,
        now: OffsetDateTime,
    ) -> Result<(), LinkError> {
        if self.crm_support == CrmSupport::Unsupported {
            return Err(LinkError::UnsupportedCrm);
        }
        if let Some(last_linked_at) = self.last_linked_at
            && policy.applies_to(self.end_user(), identifier)
            && let Some(retry_after) = policy.wait(last_linked_at, now)
        {
            return Err(LinkError::Duplicate { retry_after });
        }
        Ok(())
    }

    /// Row 9 of the table.
    pub(crate) fn accept(&self, fields: EndUserFields<'_>, now: OffsetDateTime) -> Accepted {
        let (fields, change) = merge_end_user(self.end_user(), fields);
        let (end_user, last_linked_at, revision) = (Some(fields.to_end_user()), Some(now), next(self.revision));
        Accepted { session: Self { end_user, last_linked_at, revision, ..*self }, change }
    }
}

impl AnySession {
    /// Whether a link by `request` has had its effect already (*ours*).
    ///
    /// This is true exactly if the session, active or ended, has the request's comm type, the request's fields are valid, and
    /// such a link would leave the end user as it is.
    ///
    /// Ask it when [`apply_link`] refuses a request that may have been delivered before, by a client that lost its answer or
    /// by a queue that delivers at least once. [Wrapping it](crate::wrapping#delivered-twice) shows how.
    ///
    /// ```
    /// use midsession::{AnySession, CommType, EndUser, LinkRequest, Session};
    ///
    /// let end_user = EndUser::new("id-1")?.with_name("Jane")?;
    /// let session = AnySession::from(Session::start(CommType::Chat).with_end_user(end_user));
    /// let request = |identifier: &'static str| LinkRequest {
    ///     comm_type: CommType::Chat.into(),
    ///     identifier: identifier.into(),
    ///     ..LinkRequest::default()
    /// };
    /// assert!(session.is_linked_as(&request("id-1")));
    /// assert!(!session.is_linked_as(&request("id-2")));
    /// # Ok::<(), midsession::EndUserError>(())
    /// ```
    pub fn is_linked_as(&self, request: &LinkRequest<'_>) -> bool {
        request.is_for(self.comm_type())
            && request
                .fields(Rules::Current)
                .is_ok_and(|fields| merge_end_user(self.end_user(), fields).1 == LinkChange::Unchanged)
    }
}

/// The fields of the end user after the link, and how they differ from the former ones.
fn merge_end_user<'a>(former: Option<&'a EndUser>, fields: EndUserFields<'a>) -> (EndUserFields<'a>, LinkChange) {
    let Some(former) = former.map(EndUser::fields) else { return (fields, LinkChange::First) };
    if former.identifier != fields.identifier {
        return (fields, LinkChange::Relinked);
    }
    let merged = fields.or(former);
    (merged, if merged == former { LinkChange::Unchanged } else { LinkChange::Refreshed })
}

/// An accepted link: the session to store, and what the link has changed.
///
/// ```
/// use core::time::Duration;
/// use midsession::{CommType, DuplicatePolicy, EndUser, LinkChange, Session};
/// use time::macros::datetime;
///
/// let policy = DuplicatePolicy::new(Duration::from_secs(30));
/// let now = datetime!(2026-11-22 12:00 UTC);
///
/// let end_user = EndUser::new("id-1")?;
/// let accepted = Session::start(CommType::Chat).link(&end_user, &policy, now)?;
/// assert_eq!(accepted.change(), LinkChange::First);
/// assert_eq!(accepted.session().last_linked_at(), Some(now));
/// assert_eq!(accepted.expected_revision(), 0);
/// assert_eq!(accepted.into_session().revision(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "a link takes effect only when its session is stored"]
pub struct Accepted {
    session: Session<Active>,
    change: LinkChange,
}

impl Accepted {
    /// The linked session.
    pub const fn session(&self) -> &Session<Active> {
        &self.session
    }

    /// The linked session, to be stored.
    #[must_use]
    pub fn into_session(self) -> Session<Active> {
        self.session
    }

    /// The revision of the session that was decided on. Store the linked session only if this revision is still the stored
    /// one; see [`Session::revision`].
    pub const fn expected_revision(&self) -> u64 {
        self.session.revision.wrapping_sub(1)
    }

    /// How the link has changed the session's end user.
    pub const fn change(&self) -> LinkChange {
        self.change
    }
}

/// How an accepted link changes a session's end user. Its word is a label for logs and metrics.
///
/// The enum is exhaustive on purpose: the contract is closed.
///
/// ```
/// assert_eq!(midsession::LinkChange::Relinked.as_str(), "relinked");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkChange {
    /// The session had no end user before.
    First,
    /// The same identifier, and no field has changed.
    Unchanged,
    /// The same identifier, and a field was added or changed. Fields that the request leaves out keep their value.
    Refreshed,
    /// Another identifier. Every field was replaced, and nothing of the former end user was kept.
    Relinked,
}

string_enum!(LinkChange as "change": First = "first", Unchanged = "unchanged", Refreshed = "refreshed", Relinked = "relinked");
