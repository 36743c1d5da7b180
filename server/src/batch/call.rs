//! One call of the store.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use crate::metrics::STORE_ERRORS;
use crate::store::StoreError;

/// A store may hang, panic, or answer too little: each is one of its errors. It is called in here, since it may panic
/// before it returns its future.
pub(super) async fn with_timeout<T, F: Future<Output = Result<Vec<T>, StoreError>>>(
    limit: Duration,
    expected: usize,
    call: impl FnOnce() -> F,
) -> Result<Vec<T>, StoreError> {
    let mut call = pin!(timeout(limit, async { call().await }));
    let answered = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(poll) => poll.map(|answered| answered.unwrap_or_else(|_| Err(StoreError::new("it does not answer")))),
        Err(_) => Poll::Ready(Err(StoreError::new("its client panicked"))),
    });
    let answered = match answered.await {
        Ok(answers) if answers.len() != expected => Err(StoreError::new("its client gave too few or too many answers")),
        answered => answered,
    };
    if answered.is_err() {
        metrics::counter!(STORE_ERRORS).increment(1);
    }
    answered
}
