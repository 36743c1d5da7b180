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
    let mut weak = true;
    let call = async {
        if let Some(found) = store.read_weak(ids).await? {
            return Ok(found);
        }
        weak = false;
        store.read(ids).await
    };
    let found = each(limit, ids, call).await;
    found.into_iter().map(|found| ReadResult { found, weak }).collect()
}

async fn read_durable<S: Store>(store: &S, limit: Duration, ids: &[&str]) -> Vec<ReadResult> {
    let found = each(limit, ids, store.read(ids)).await;
    found.into_iter().map(|found| ReadResult { found, weak: false }).collect()
}

/// If the store could not be asked at all, each id is out of reach for itself.
async fn each(
    limit: Duration,
    ids: &[&str],
    call: impl Future<Output = Result<Vec<ReadOutcome>, StoreError>>,
) -> Vec<ReadOutcome> {
    if ids.is_empty() {
        return Vec::new();
    }
    let found = with_timeout(limit, ids.len(), call).await;
    found.unwrap_or_else(|error| ids.iter().map(|_| Err(error.clone().into())).collect())
}
