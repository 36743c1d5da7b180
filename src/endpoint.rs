use core::fmt;

use crate::limits::SESSION_ID_MAX_CHARS;
use crate::{CommType, Param};

const BASE: &str = "/apps/api/v1/";
const CALLS: &str = "calls";
const CHATS: &str = "chats";

/// The endpoint's path, `/apps/api/v1/calls/:call_id/end_user` or `…/chats/:chat_id/end_user`.
///
/// [`parse`](Self::parse) it out of a request's path (without the query); [`new`](Self::new) and `Display` build one.
/// `Debug` shows the session id, and of the comm type only whether it is a known one.
///
/// ```
/// use midsession::{CommType, Endpoint, Param};
///
/// let endpoint = Endpoint::parse("/apps/api/v1/chats/42/end_user").ok_or("no endpoint")?;
/// assert_eq!(endpoint.comm_type(), Param::from("chat"));
/// assert_eq!(endpoint.session_id(), "42");
/// assert_eq!(Endpoint::new(CommType::Chat, "42"), Some(endpoint));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint<'a> {
    segment: &'a str,
    session_id: &'a str,
}

impl<'a> Endpoint<'a> {
    /// The endpoint that `path` names; none if it is another path.
    ///
    /// Any comm type is taken, for the decision to judge; the published base URI's doubled slash
    /// (`//apps/api/v1/…`) is accepted. A session id is 1 to [`SESSION_ID_MAX_CHARS`] of RFC 3986's unreserved characters
    /// (letters, digits, `-`, `.`, `_`, `~`; *ours*): nothing is percent-decoded.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(BASE).or_else(|| path.strip_prefix('/')?.strip_prefix(BASE))?;
        let (segment, rest) = path.split_once('/')?;
        let session_id = rest.strip_suffix("/end_user")?;
        is_session_id(session_id).then_some(Self { segment, session_id })
    }

    /// The endpoint of this session; none if `session_id` is none that a path can hold.
    #[must_use]
    pub fn new(comm_type: CommType, session_id: &'a str) -> Option<Self> {
        let segment = match comm_type {
            CommType::Call => CALLS,
            CommType::Chat => CHATS,
        };
        is_session_id(session_id).then_some(Self { segment, session_id })
    }

    /// `call` for `calls`, `chat` for `chats`, [`Param::Blank`] for an empty segment, and [`Param::NotText`] for any other
    /// (the singular `call` and `chat` too: a session has one URL), which the decision answers with 404.
    pub fn comm_type(&self) -> Param<'static> {
        match self.segment {
            CALLS => CommType::Call.into(),
            CHATS => CommType::Chat.into(),
            "" => Param::Blank,
            _ => Param::NotText,
        }
    }

    /// The session's id.
    pub const fn session_id(&self) -> &'a str {
        self.session_id
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
        let segment = if matches!(self.segment, CALLS | CHATS) { self.segment } else { "<redacted>" };
        formatter.debug_struct("Endpoint").field("segment", &segment).field("session_id", &self.session_id).finish()
    }
}
