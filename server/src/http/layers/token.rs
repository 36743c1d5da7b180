//! Asks for a token.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tower::Layer;

use super::service::{Layered, Middleware};
use crate::batch::Caller;
use crate::http::auth::Tokens;
use crate::http::reply::Reply;

/// Lets in who shows one of the tokens. The request and its response carry that token's [`Caller`]: by it the queue is shared,
/// and the layers around this one have the client's name for logs and metrics.
///
/// It is the server's own login. A team that has another lays its own layer on the [`routes`](crate::routes) instead.
#[derive(Clone, Debug)]
pub struct TokenLayer {
    tokens: Tokens,
    open: &'static [&'static str],
}

impl TokenLayer {
    /// Asks for a token, whatever the path.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, open: &[] }
    }

    /// Asks for none on these paths. One that ends with a slash stands for all that begin with it.
    #[must_use]
    pub fn except(self, open: &'static [&'static str]) -> Self {
        Self { open, ..self }
    }

    fn is_open(&self, path: &str) -> bool {
        self.open.iter().any(|open| *open == path || open.ends_with('/') && path.starts_with(open))
    }
}

impl<S> Layer<S> for TokenLayer {
    type Service = Layered<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered { middleware: self.clone(), inner }
    }
}

impl Middleware for TokenLayer {
    type Seen = Option<Caller>;

    fn request(&self, request: &mut Request) -> Result<Option<Caller>, Box<Response>> {
        if self.is_open(request.uri().path()) {
            return Ok(None);
        }
        let caller =
            self.tokens.admit(request.headers()).ok_or_else(|| Box::new(Reply::unauthorized().into_response()))?;
        request.extensions_mut().insert(caller.clone());
        Ok(Some(caller).filter(|caller| caller.origin().client.is_some()))
    }

    fn response(caller: Option<Caller>, response: &mut Response) {
        if let Some(caller) = caller {
            response.extensions_mut().insert(caller);
        }
    }
}
