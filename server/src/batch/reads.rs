//! What is stored under the ids of a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::call::with_timeout;
use super::task::Task;
use crate::store::{ReadOutcome, Store, StoreError};

/// What is stored under an id.
pub(super) struct ReadResult {
    pub(super) found: ReadOutcome,
    /// The store did not make sure of it.
    pub(super) weak: bool,
}

/// Reads each id, in their order: weakly where all of its commands allow that.
pub(super) async fn read_batch<S: Store>(
    store: &S,
    limit: Duration,
    sessions: &BTreeMap<Arc<str>, Vec<Task>>,
) -> Vec<ReadResult> {
    let may_read_weak = |tasks: &Vec<Task>| tasks.iter().all(Task::may_read_weak);
    let (mut weak, mut durable) = (Vec::with_capacity(sessions.len()), Vec::new());
    for (id, tasks) in sessions {
        if may_read_weak(tasks) { &mut weak } else { &mut durable }.push(&**id);
    }
    let (weak, durable) = tokio::join!(read_weak(store, limit, &weak), read_durable(store, limit, &durable));
    let (mut weak, mut durable) = (weak.into_iter(), durable.into_iter());
    let next = |tasks| if may_read_weak(tasks) { weak.next() } else { durable.next() };
    sessions.values().filter_map(next).collect()
}

async fn read_weak<S: Store>(store: &S, limit: Duration, ids: &[&str]) -> Vec<ReadResult> {
    let call = || async {
        match store.read_weak(ids).await? {
            Some(found) => Ok(marked(found, true)),
            None => Ok(marked(store.read(ids).await?, false)),
        }
    };
    each(limit, ids, call).await
}

async fn read_durable<S: Store>(store: &S, limit: Duration, ids: &[&str]) -> Vec<ReadResult> {
    each(limit, ids, || async { Ok(marked(store.read(ids).await?, false)) }).await
}

fn marked(found: Vec<ReadOutcome>, weak: bool) -> Vec<ReadResult> {
    found.into_iter().map(|found| ReadResult { found, weak }).collect()
}

/// If the store could not be asked at all, each id is out of reach for itself.
async fn each<F: Future<Output = Result<Vec<ReadResult>, StoreError>>>(
    limit: Duration,
    ids: &[&str],
    call: impl FnOnce() -> F,
) -> Vec<ReadResult> {
    if ids.is_empty() {
        return Vec::new();
    }
    let out_of_reach = |error: &StoreError| ReadResult { found: Err(error.clone().into()), weak: false };
    let found = with_timeout(limit, ids.len(), call).await;
    found.unwrap_or_else(|error| ids.iter().map(|_| out_of_reach(&error)).collect())
}
