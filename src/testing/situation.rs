use core::fmt;

use time::OffsetDateTime;

use crate::testing::revealed;
use crate::{AnySession, DuplicatePolicy, LinkRequest};

/// Everything that a decision depends on. Its `Debug` shows all text: what is generated is nobody's data.
#[derive(Clone, PartialEq, Eq)]
pub struct Situation {
    /// The stored session; `None`: there is no such session.
    pub session: Option<AnySession>,
    /// The request.
    pub request: LinkRequest<'static>,
    /// The policy.
    pub policy: DuplicatePolicy,
    /// The moment of the request.
    pub now: OffsetDateTime,
}

impl fmt::Debug for Situation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, request, policy, now } = self;
        formatter
            .debug_struct("Situation")
            .field("session", &revealed(session))
            .field("request", &revealed(request))
            .field("policy", policy)
            .field("now", now)
            .finish()
    }
}
