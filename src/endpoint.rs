use core::fmt;

use crate::limits::SESSION_ID_MAX_CHARS;
use crate::{CommType, Param};

const BASE: &str = "/apps/api/v1/";

/// The endpoint's path, `/apps/api/v1/calls/:call_id/end_user` or `…/chats/:chat_id/end_user`.
///
/// [`parse`](Self::parse) reads it from a request's path, without the query. [`new`](Self::new) and `Display` build a path.
/// `Debug` shows the session id, and the segment of the comm type only if it is a known one.
///
/// ```
/// use midsession::{CommType, Endpoint};
///
/// let path = "/apps/api/v1/chats/42/end_user";
/// let endpoint = Endpoint::parse(path).ok_or("not the endpoint")?;
/// assert_eq!(endpoint.comm_type(), Some(CommType::Chat));
/// assert_eq!(endpoint.session_id(), "42");
/// assert_eq!(Endpoint::new(CommType::Chat, "42"), Some(endpoint));
/// assert_eq!(endpoint.to_string(), path);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint<'a> {
    segment: &'a str,
    session_id: &'a str,
}

impl<'a> Endpoint<'a> {
    /// Reads the endpoint from `path`, exactly as the client sent it. Returns `None` for any other path.
    ///
    /// Any comm type is accepted here, because the decision refuses the unknown ones. The published base URI's doubled slash
    /// (`//apps/api/v1/…`) is accepted. A session id is 1 to [`SESSION_ID_MAX_CHARS`] of RFC 3986's unreserved characters
    /// (letters, digits, `-`, `.`, `_`, `~`; *ours*): nothing is percent-decoded.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(BASE).or_else(|| path.strip_prefix('/')?.strip_prefix(BASE))?;
        let (segment, rest) = path.split_once('/')?;
        let session_id = rest.strip_suffix("/end_user")?;
        is_session_id(session_id).then_some(Self { segment, session_id })
    }

    /// The endpoint of this session. Returns `None` if a path cannot hold `session_id`.
    ///
    /// ```
    /// use midsession::{CommType, Endpoint};
    ///
    /// assert!(Endpoint::new(CommType::Call, "0190f5fe-7a8b").is_some());
    /// assert!(Endpoint::new(CommType::Call, "not/one/segment").is_none());
    /// ```
    #[must_use]
    pub fn new(comm_type: CommType, session_id: &'a str) -> Option<Self> {
        is_session_id(session_id).then_some(Self { segment: segment(comm_type), session_id })
    }

    /// The comm type that the path names: `Call` for the segment `calls`, `Chat` for `chats`. Returns `None` for any other
    /// segment, which [`LinkRequest::with_endpoint`](crate::LinkRequest::with_endpoint) makes row 1 or 4.
    ///
    /// ```
    /// use midsession::Endpoint;
    ///
    /// let path = "/apps/api/v1/chat/42/end_user"; // not the plural
    /// let endpoint = Endpoint::parse(path).ok_or("not the endpoint")?;
    /// assert_eq!(endpoint.comm_type(), None);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn comm_type(&self) -> Option<CommType> {
        CommType::ALL.iter().copied().find(|comm_type| segment(*comm_type) == self.segment)
    }

    /// The comm type as a param of the request.
    pub(crate) fn comm_type_param(&self) -> Param<'static> {
        let other = if self.segment.is_empty() { Param::Blank } else { Param::NotText };
        self.comm_type().map_or(other, Param::from)
    }

    /// The session's id.
    pub const fn session_id(&self) -> &'a str {
        self.session_id
    }
}

fn segment(comm_type: CommType) -> &'static str {
    match comm_type {
        CommType::Call => "calls",
        CommType::Chat => "chats",
    }
}

fn is_session_id(text: &str) -> bool {
    (1..=SESSION_ID_MAX_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

impl fmt::Display for Endpoint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{BASE}{}/{}/end_user", self.segment, self.session_id)
    }
}

impl fmt::Debug for Endpoint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = if self.comm_type().is_some() { self.segment } else { "<redacted>" };
        formatter.debug_struct("Endpoint").field("segment", &segment).field("session_id", &self.session_id).finish()
    }
}
