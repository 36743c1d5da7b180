//! Work that goes on, whoever still waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A future that goes on in a task of its own if it is dropped before its end.
///
/// Until then it has no task of its own: tokio keeps a short chain of tasks that wake each other on one thread, and takes
/// a longer one to another, which costs a lone request more than its work.
pub(crate) struct DetachOnDrop<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> DetachOnDrop<F> {
    pub(crate) fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out meanwhile: what panics is not gone on with.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let poll = work.as_mut().poll(context);
        if poll.is_pending() {
            self.0 = Some(work);
        }
        poll
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        // Where no runtime is left, nothing goes on.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { drop(work.await) });
        }
    }
}

/// Does `work` that may block for good, such as reading a file on a mount that hangs. None: it is not done in time, and its
/// thread stays until it is.
///
/// It is no thread of the runtime's, which has few of them, and waits for them when it stops.
pub(crate) async fn blocking<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new().name("blocking".to_owned()).spawn(move || done.send(work())).ok()?;
    timeout(limit, result).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_no_one_waits_for_any_more_is_finished() {
        let (done, finished) = oneshot::channel();
        let work = async move {
            sleep(Duration::from_secs(2)).await;
            done.send(()).unwrap();
        };
        assert!(timeout(Duration::from_secs(1), DetachOnDrop::new(work)).await.is_err());
        finished.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_begun_is_done_and_what_panicked_is_not_gone_on_with() {
        let (done, finished) = oneshot::channel();
        drop(DetachOnDrop::new(async move { done.send(()) }));
        finished.await.unwrap();

        let (never, told) = oneshot::channel::<()>();
        let panics = DetachOnDrop::new(async move {
            let _never = never;
            panic!("as told");
        });
        assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
        assert!(told.await.is_err(), "dropped, not sent");
    }
}
