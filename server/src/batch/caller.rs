//! Who asks.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

use crate::store::Origin;

/// Who asks. Where a queue is full, each has an equal share of it, and a batch is taken from each in turn. So one who floods
/// the server is refused, and the others are not.
///
/// The routes know a caller by its token. A team that puts its own check before them says who asks with an extension of the
/// request; without it, all are one.
///
/// ```
/// use midsession_server::Caller;
///
/// let mut request = axum::http::Request::new(());
/// request.extensions_mut().insert(Caller::new("tenant-42").with_client("tenant-42"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    share: Share,
    origin: Origin,
}

/// Whose share of a queue it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Share(u64);

impl Share {
    /// The server itself, with its probe.
    pub(super) const PROBE: Self = Self(u64::MAX);

    pub(super) fn of(name: impl Hash) -> Self {
        Self(BuildHasherDefault::<DefaultHasher>::default().hash_one(name))
    }
}

impl Caller {
    /// Whoever has this name. Only its hash is kept.
    pub fn new(name: impl Hash) -> Self {
        Self { share: Share::of(name), ..Self::default() }
    }

    /// What logs, metrics and [changes](crate::Change) call it: a name of your configuration, and never a client's own word.
    #[must_use]
    pub fn with_client(mut self, client: impl Into<Arc<str>>) -> Self {
        self.origin.client = Some(client.into());
        self
    }

    /// Which of its requests this is.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.origin.request_id = Some(id.into());
        self
    }

    /// What a change is told of it.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn share(&self) -> Share {
        self.share
    }
}
