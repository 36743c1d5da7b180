//! The kit for stores, over any engine behind the trait `Store`.

use std::sync::Arc;

use midsession::AnySession;
use midsession::testing::conformance::store::{Change as KitChange, Driver, Rule};
use midsession_server::{ConditionalWrite, Store, WriteOutcome};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Checks every rule. The store is empty, and was opened in `runtime`.
pub fn check<S: Store>(runtime: &Runtime, store: S) {
    let mut kit = Kit { runtime, store: Arc::new(store) };
    for rule in Rule::ALL {
        rule.check(&mut kit).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    }
}

struct Kit<'a, S> {
    runtime: &'a Runtime,
    store: Arc<S>,
}

impl<S: Store> Driver for Kit<'_, S> {
    type Error = String;

    fn read(&mut self, ids: &[&str]) -> Result<Vec<Option<String>>, String> {
        let found = self.runtime.block_on(self.store.read(ids)).map_err(|error| error.to_string())?;
        let record = |session| serde_json::to_string(&session).unwrap();
        found.into_iter().map(|found| Ok(found.map_err(|error| error.to_string())?.map(record))).collect()
    }

    fn write(&mut self, changes: &[KitChange]) -> Result<Vec<bool>, String> {
        self.runtime.block_on(write(&*self.store, changes))
    }

    fn race(&mut self, writers: &[Vec<KitChange>]) -> Result<Vec<Vec<bool>>, String> {
        self.runtime.block_on(async {
            let mut racing = JoinSet::new();
            for (number, changes) in writers.iter().cloned().enumerate() {
                let store = self.store.clone();
                racing.spawn(async move { (number, write(&*store, &changes).await) });
            }
            let mut answers = racing.join_all().await;
            answers.sort_by_key(|(number, _)| *number);
            answers.into_iter().map(|(_, written)| written).collect()
        })
    }
}

async fn write<S: Store>(store: &S, changes: &[KitChange]) -> Result<Vec<bool>, String> {
    let change = |change: &KitChange| {
        ConditionalWrite::new(&*change.id, change.expected, serde_json::from_str::<AnySession>(&change.record).unwrap())
    };
    let changes: Vec<ConditionalWrite> = changes.iter().map(change).collect();
    let written = store.write(&changes).await.map_err(|error| error.to_string())?;
    let was_written = |written| match written {
        WriteOutcome::Applied => Ok(true),
        WriteOutcome::Conflict => Ok(false),
        WriteOutcome::Busy => Err("a session is held".to_owned()),
        WriteOutcome::Refused => Err("a write was refused".to_owned()),
        WriteOutcome::Unknown => Err("the fate of a write is unknown".to_owned()),
    };
    written.into_iter().map(was_written).collect()
}
