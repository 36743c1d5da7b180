//! The threads that talk to SQLite, which blocks.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How many calls may wait for a thread. A shard has one under way, so this is plenty.
const WAITING_MAX: usize = 256;

/// Threads that work on a connection each. A clone is another handle of the same.
#[derive(Clone)]
pub struct ThreadPool(Arc<Threads>);

impl ThreadPool {
    pub fn start(name: &str, connections: Vec<Connection>) -> io::Result<Self> {
        let threads = Threads::default();
        for connection in connections {
            let shared = threads.shared.clone();
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || shared.work(connection))?;
            threads.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self(Arc::new(threads)))
    }

    /// Has a thread do it, unless no one waits for it any more when its turn comes.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(reply, job)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::new("its thread panicked")))
    }

    pub fn ask<T: Send + 'static>(
        &self,
        reply: oneshot::Sender<Result<T, StoreError>>,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(job(connection));
            }
        });
        let mut queue = self.0.shared.queue();
        if queue.closed {
            return Err(StoreError::nothing_written("it is closed"));
        }
        if queue.jobs.len() >= WAITING_MAX {
            return Err(StoreError::nothing_written("too many calls wait"));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.0.shared.changed.notify_one();
        Ok(())
    }

    /// Waits until the threads have done what they were asked, and have closed their connections.
    pub fn stop(&self) {
        self.0.shared.close();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Threads {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A channel would have idle threads wait for each other, too: a few more switches for each job.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is in the queue, or nothing more will be.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    fn work(&self, mut connection: Connection) {
        while let Some(job) = self.next() {
            // Whoever waits for it is told, since its end of the channel is dropped. A transaction is rolled back.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
        }
    }

    /// None: nothing more will come.
    fn next(&self) -> Option<Job> {
        let idle = |queue: &mut Queue| queue.jobs.is_empty() && !queue.closed;
        let queue = self.changed.wait_while(self.queue(), idle);
        queue.unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let pool = ThreadPool::start("test", vec![Connection::open_in_memory().unwrap()]).unwrap();
        let panics = pool.call(|_| -> Result<(), _> { std::panic::resume_unwind(Box::new("as told")) });
        assert_eq!(panics.await.unwrap_err().to_string(), "the database failed: its thread panicked");
        assert_eq!(pool.call(|_| Ok(1)).await.ok(), Some(1));
        pool.stop();
    }
}
