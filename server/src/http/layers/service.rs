//! What all layers have in common.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use pin_project_lite::pin_project;
use tower::Service;

/// What a layer does with a request on its way in, and with its response on its way out.
///
/// It is written by hand, since axum's `from_fn` costs a request some ten allocations a layer. This costs none.
pub trait Middleware {
    /// What is kept of the request until its response is there.
    type Seen;

    /// The error is the answer: the request goes no further.
    fn request(&self, request: &mut Request) -> Result<Self::Seen, Box<Response>>;

    fn response(seen: Self::Seen, response: &mut Response);
}

/// A service behind a layer.
#[derive(Clone, Debug)]
pub struct Layered<M, S> {
    pub(super) middleware: M,
    pub(super) inner: S,
}

impl<M: Middleware, S: Service<Request, Response = Response>> Service<Request> for Layered<M, S> {
    type Response = Response;
    type Error = S::Error;
    type Future = LayeredFuture<M, M::Seen, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.middleware.request(&mut request) {
            Ok(seen) => LayeredFuture::Passed { future: self.inner.call(request), seen: Some(seen), of: PhantomData },
            Err(answer) => LayeredFuture::Answered { answer: Some(*answer) },
        }
    }
}

pin_project! {
    #[project = LayeredProjection]
    pub enum LayeredFuture<M, Seen, F> {
        Answered { answer: Option<Response> },
        Passed { #[pin] future: F, seen: Option<Seen>, of: PhantomData<fn() -> M> },
    }
}

impl<M, F, E> Future for LayeredFuture<M, M::Seen, F>
where
    M: Middleware,
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            LayeredProjection::Answered { answer } => {
                answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
            LayeredProjection::Passed { future, seen, .. } => {
                let mut response = ready!(future.poll(context))?;
                if let Some(seen) = seen.take() {
                    M::response(seen, &mut response);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}
