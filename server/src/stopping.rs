//! What a request is told while the server is stopping.

/// An extension of each request that is answered while the server is [stopping](crate::serve). A readiness of your own looks
/// for it: who balances the load is told to go elsewhere, while all that still comes is served.
///
/// ```
/// use axum::http::{Extensions, StatusCode};
/// use midsession_server::Stopping;
///
/// fn ready(extensions: &Extensions) -> StatusCode {
///     match extensions.get::<Stopping>() {
///         Some(Stopping) => StatusCode::SERVICE_UNAVAILABLE,
///         None => StatusCode::OK,
///     }
/// }
/// assert_eq!(ready(&Extensions::new()), StatusCode::OK);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping;
