//! The paths there are.

pub(crate) const LIVE: &str = "/livez";
pub(crate) const READY: &str = "/readyz";
pub(crate) const DESCRIPTION: &str = "/openapi.json";
/// The page's files are below it.
pub(crate) const DOCS: &str = "/docs";
/// What needs no token, so that a supervisor needs none.
pub(crate) const OPEN: [&str; 2] = [LIVE, READY];
/// What needs none if the operator says so.
pub(crate) const PUBLIC_DOCS: [&str; 2] = [DESCRIPTION, DOCS];
/// The route of the contract, as the log names it.
pub(crate) const END_USER: &str = "/apps/api/v1/{comm_type}/{session_id}/end_user";
