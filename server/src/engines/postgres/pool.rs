//! Connections: few, bounded on the database's side too, and to a server whose writes end.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::failure::Failure;
use super::hosts::{Database, Target};
use super::schema::prove;
use crate::detach::DetachOnDrop;

/// Some connections, for one kind of work: reads do not wait for writes. A clone is another handle of the same.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    size: usize,
    /// Callers that are served at once. One that gives up leaves its turn, and its connection stays taken.
    turns: Semaphore,
    idle: Mutex<Vec<Arc<Connection>>>,
    /// By server: how many connections may still be opened to it.
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Pool {
    pub(super) fn new(database: Arc<Database>, size: usize) -> Self {
        let turns = Semaphore::new(size);
        Self(Arc::new(Inner { database, size, turns, idle: Mutex::default(), places: Mutex::default() }))
    }

    /// Does `work` on a connection, and waits for it as long as the timeout lasts.
    ///
    /// Work is never broken off. Its connection stays taken until the statement has ended, whoever still waits for it:
    /// a connection that is closed does not end its statement, so that the next one would be one backend more. Nor is
    /// the statement cancelled: a commit that waits for its standby would then be told as done.
    pub(super) async fn run<T, W>(&self, work: impl FnOnce(Arc<Connection>) -> W) -> Result<T, Failure>
    where
        T: Send,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let deadline = Instant::now() + self.0.database.timeout;
        let turn = timeout_at(deadline, self.0.turns.acquire()).await;
        let _turn = turn.map_err(|_| Failure::Busy)?;
        let connection = timeout_at(deadline, self.connection()).await.unwrap_or(Err(Failure::Silent));
        let connection = connection.map_err(|failure| Failure::Unreached(Box::new(failure)))?;
        let work = work(connection.clone());
        let pool = self.clone();
        let done = DetachOnDrop::new(async move {
            let mut work = pin!(work);
            let in_time = timeout_at(deadline, &mut work).await;
            if in_time.as_ref().map_or(true, |result| result.as_ref().is_err_and(Failure::took_too_long)) {
                pool.search_besides(&connection.target);
            }
            let result = match in_time {
                Ok(result) => result,
                Err(_) => work.await,
            };
            match &result {
                Err(failure) if failure.refuses_writes() => pool.0.database.state().current = None,
                Err(failure) if failure.spoils_the_connection() => (),
                _ => pool.keep(connection),
            }
            result
        });
        timeout_at(deadline, done).await.unwrap_or(Err(Failure::Silent))
    }

    fn keep(&self, connection: Arc<Connection>) {
        lock(&self.0.idle).push(connection);
    }

    async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        loop {
            let idle = lock(&self.0.idle).pop();
            let Some(connection) = idle else { break };
            let current = self.0.database.state().current.as_ref() == Some(&connection.target);
            if current && !connection.client.is_closed() {
                return Ok(connection);
            }
        }
        let mut failure = Failure::Lookup;
        for target in self.0.database.targets().await {
            let key = target.key.clone();
            let opened = self.open(target).await;
            let mut state = self.0.database.state();
            if matches!(opened, Err(Failure::Silent)) {
                state.silent.insert(key.clone());
            } else {
                state.silent.remove(&key);
            }
            match opened {
                Ok(connection) => {
                    state.current = Some(key);
                    return Ok(Arc::new(connection));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A server that does not get on with it keeps the place until its socket breaks: it may have begun.
    async fn open(&self, target: Target) -> Result<Connection, Failure> {
        let places = lock(&self.0.places)
            .entry(target.key.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.0.size)))
            .clone();
        let place = places.try_acquire_owned().map_err(|_| Failure::Full)?;
        let database = self.0.database.clone();
        let opened = tokio::spawn(async move { Connection::open(&database, &target, place).await });
        let opened = timeout(self.0.database.url.connect_timeout, opened).await;
        opened.map_or(Err(Failure::Silent), |joined| joined.unwrap_or(Err(Failure::Broken)))
    }

    /// Looks, aside, for another server than `slow`, on which a statement did not end in time: one that commits a write.
    ///
    /// A primary whose standby was promoted answers, and takes writes, but their commits never end. Until another is found,
    /// `slow` stays the one in use: it may be all there is.
    fn search_besides(&self, slow: &str) {
        let mut state = self.0.database.state();
        if state.is_searching || state.current.as_deref() != Some(slow) {
            return;
        }
        state.is_searching = true;
        drop(state);
        let (pool, slow) = (self.clone(), slow.to_owned());
        tokio::spawn(async move {
            let found = pool.other_than(&slow).await;
            let mut state = pool.0.database.state();
            state.is_searching = false;
            if let Some(connection) = found
                && state.current.as_ref() == Some(&slow)
            {
                tracing::warn!(
                    "a database server did not answer in time, and another one takes writes: it is used now"
                );
                state.current = Some(connection.target.clone());
                drop(state);
                pool.keep(Arc::new(connection));
            }
        });
    }

    async fn other_than(&self, slow: &str) -> Option<Connection> {
        for target in self.0.database.targets().await.into_iter().filter(|target| target.key != slow) {
            if let Ok(connection) = self.open(target).await
                && let Ok(Ok(())) = timeout(self.0.database.timeout, prove(&connection)).await
            {
                return Some(connection);
            }
        }
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
