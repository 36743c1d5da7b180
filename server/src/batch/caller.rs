//! Who asks.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

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
    client: Option<Arc<str>>,
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

    /// What logs and metrics call it: a name of your configuration, and never a client's own word.
    #[must_use]
    pub fn with_client(self, client: impl Into<Arc<str>>) -> Self {
        Self { client: Some(client.into()), ..self }
    }

    /// What logs and metrics call it.
    pub fn client(&self) -> Option<&Arc<str>> {
        self.client.as_ref()
    }

    pub(super) fn share(&self) -> Share {
        self.share
    }
}
