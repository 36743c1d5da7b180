//! Who asks, as the layers before the routes say: ours, or a team's own.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::id::RequestId;
use crate::batch::Caller;
use crate::tenant::Tenant;

/// Who asks, and whose sessions they are.
pub(crate) struct Requester {
    pub(crate) caller: Caller,
    tenant: Option<Tenant>,
}

impl Requester {
    /// The id that the store has the session under.
    pub(crate) fn stored_id<'i>(&self, id: &'i str) -> Cow<'i, str> {
        self.tenant.as_ref().map_or(Cow::Borrowed(id), |tenant| Cow::Owned(tenant.stored_id(id)))
    }
}

impl<S: Sync> FromRequestParts<S> for Requester {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let tenant = parts.extensions.get::<Tenant>().cloned();
        let by_tenant = || tenant.as_ref().map(|tenant| Caller::new(tenant.name()));
        let mut caller: Caller = parts.extensions.get().cloned().or_else(by_tenant).unwrap_or_default();
        // A change that the request leads to has the id that its line in the log has.
        if let Some(RequestId(id)) = parts.extensions.get()
            && caller.origin().request_id.is_none()
        {
            caller = caller.with_request_id(id.clone());
        }
        Ok(Self { caller, tenant })
    }
}
