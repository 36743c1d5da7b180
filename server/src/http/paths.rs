//! The paths there are.

pub(crate) const LIVE: &str = "/livez";
pub(crate) const READY: &str = "/readyz";
pub(crate) const DESCRIPTION: &str = "/openapi.json";
/// The page's files are below it.
pub(crate) const DOCS: &str = "/docs";
/// What needs no token, so that a supervisor needs none.
pub(crate) const OPEN: &[&str] = &[LIVE, READY];
/// The same, if the operator opens the API's description, too.
pub(crate) const OPEN_WITH_DOCS: &[&str] = &[LIVE, READY, DESCRIPTION, DOCS, "/docs/"];

pub(crate) const START: [&str; 2] = ["/apps/api/v1/calls", "/apps/api/v1/chats"];
pub(crate) const SHOW: [&str; 2] = ["/apps/api/v1/calls/{session_id}", "/apps/api/v1/chats/{session_id}"];
pub(crate) const END: [&str; 2] = ["/apps/api/v1/calls/{session_id}/end", "/apps/api/v1/chats/{session_id}/end"];
/// The contract has answers for a comm type that is none of the two, and for none at all.
pub(crate) const END_USER_SPELLINGS: [&str; 4] = [
    "/apps/api/v1/calls/{session_id}/end_user",
    "/apps/api/v1/chats/{session_id}/end_user",
    END_USER,
    "/apps/api/v1//{session_id}/end_user",
];
/// The route of the contract, as logs name all its spellings.
pub(crate) const END_USER: &str = "/apps/api/v1/{comm_type}/{session_id}/end_user";

/// The others' names in logs.
pub(crate) const NAMES: [&str; 10] =
    [SHOW[0], SHOW[1], END[0], END[1], START[0], START[1], LIVE, READY, DESCRIPTION, DOCS];

/// Each path has two forms: the published base URI has a doubled slash.
pub(crate) fn both_forms(path: &str) -> [String; 2] {
    [path.to_owned(), format!("/{path}")]
}
