//! How long a client may take.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Runs from the first time that it is asked until it is stopped. It is made once a connection: most never need it.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    runs: bool,
}

impl Timer {
    pub(super) fn poll(&mut self, context: &mut Context<'_>, time: Duration) -> Poll<()> {
        let start = !std::mem::replace(&mut self.runs, true);
        // A time beyond all calendars never ends.
        let Some(deadline) = Instant::now().checked_add(time) else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if start {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context)
    }

    pub(super) fn stop(&mut self) {
        self.runs = false;
    }
}
