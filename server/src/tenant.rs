//! Whose a session is, where several tenants share a server.

use std::sync::Arc;

/// The longest name, in characters.
const NAME_MAX_CHARS: usize = 64;

/// Whose a session is, if several tenants share a server. A login of your own puts it into the request's extensions. The
/// [`routes`](crate::routes) then find the tenant's own sessions and no others: one of another tenant is unknown.
///
/// The store has such a session under the tenant's name, a slash, and the id of the path. A path's id holds no slash, so
/// [`Tenant::split`] tells the two apart again, for a store that has a column for each. If there is no
/// [`Caller`](crate::Caller) among the extensions, the tenants share the queue.
///
/// ```
/// use midsession_server::Tenant;
///
/// let tenant = Tenant::new("acme").ok_or("a name no path could have")?;
/// assert_eq!(tenant.stored_id("42"), "acme/42");
/// assert_eq!(Tenant::split("acme/42"), (Some("acme"), "42"));
/// assert_eq!(Tenant::split("42"), (None, "42"));
///
/// let mut request = axum::http::Request::new(());
/// request.extensions_mut().insert(tenant);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of this name: 1 to 64 of the characters that an id has, which are ASCII letters and digits, `-`, `.`, `_`
    /// and `~`. Anything else is none.
    pub fn new(name: &str) -> Option<Self> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        ((1..=NAME_MAX_CHARS).contains(&name.len()) && name.bytes().all(is_fit)).then(|| Self(name.into()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What the store knows the tenant's session by: the id for [`Sessions::submit`](crate::Sessions::submit).
    pub fn stored_id(&self, session_id: &str) -> String {
        [&*self.0, "/", session_id].concat()
    }

    /// The tenant's name, if there is one, and the session's id, of what a store is asked for.
    pub fn split(stored_id: &str) -> (Option<&str>, &str) {
        match stored_id.split_once('/') {
            Some((tenant, id)) => (Some(tenant), id),
            None => (None, stored_id),
        }
    }
}
