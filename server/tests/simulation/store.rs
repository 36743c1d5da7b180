//! A store in memory that does to a server what databases do on a bad day, and on request lies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use midsession::AnySession;
use midsession_server::{Change, Found, Store, StoreError, Written};
use tokio::time::sleep;

/// The database that the servers of a run share. It holds the stored form, and keeps every write.
#[derive(Default)]
pub struct Database {
    rows: Mutex<HashMap<String, (u64, String)>>,
    writes: Mutex<Vec<Change>>,
}

impl Database {
    /// Stores a session before the run.
    pub fn insert(&self, id: &str, session: &AnySession) {
        lock(&self.rows).insert(id.to_owned(), (session.revision(), serde_json::to_string(session).unwrap()));
    }

    /// What is stored under an id.
    pub fn session(&self, id: &str) -> Option<AnySession> {
        lock(&self.rows).get(id).map(|(_, record)| serde_json::from_str(record).unwrap())
    }

    /// Every write that was made, in order.
    pub fn writes(&self) -> Vec<Change> {
        lock(&self.writes).clone()
    }

    fn apply(&self, change: &Change, conditional: bool) -> bool {
        let mut rows = lock(&self.rows);
        let stored = rows.get(&change.id).map(|(revision, _)| *revision);
        if conditional && stored != change.expected {
            return false;
        }
        let record = serde_json::to_string(&change.next).unwrap();
        rows.insert(change.id.clone(), (change.next.revision(), record));
        lock(&self.writes).push(change.clone());
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bug in a store, planted to prove that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Writes whatever revision is stored.
    WriteWithoutCondition,
    /// Says that it is written, and writes a moment later, if the revision still stands then.
    AnswerBeforeTheCommit,
    /// Says of a lost race that it is written.
    DroppedLoser,
    /// Answers the changes of a batch in the wrong order.
    SwappedAnswers,
    /// Says of a write whose fate is open that it is not written.
    UnknownTakenForFailure,
    /// Gives one id what is stored under another.
    SwappedReads,
}

/// One server's connection to the database.
pub struct SimulatedStore {
    database: Arc<Database>,
    random: Mutex<Rng>,
    bug: Option<Bug>,
}

impl SimulatedStore {
    pub fn new(database: Arc<Database>, random: Rng, bug: Option<Bug>) -> Self {
        Self { database, random: Mutex::new(random), bug }
    }

    /// Most answers are quick; some take longer than a request waits.
    async fn delay(&self) {
        let millis = {
            let mut random = lock(&self.random);
            match random.u64(..40) {
                0 => 4_000 + random.u64(..8_000),
                1..4 => 100 + random.u64(..1_500),
                _ => random.u64(..20),
            }
        };
        sleep(Duration::from_millis(millis)).await;
    }

    fn chance(&self, percent: u64) -> bool {
        lock(&self.random).u64(..100) < percent
    }

    fn write_one(&self, change: &Change) -> Written {
        match self.bug {
            Some(Bug::AnswerBeforeTheCommit) if self.chance(50) => {
                let (database, change) = (self.database.clone(), change.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(30)).await;
                    database.apply(&change, true);
                });
                return Written::Yes;
            }
            _ => {}
        }
        let written = self.database.apply(change, self.bug != Some(Bug::WriteWithoutCondition));
        if written || self.bug == Some(Bug::DroppedLoser) { Written::Yes } else { Written::No }
    }

    /// The same outcome with less said about it: the write is made, or not, or a little later.
    fn write_in_doubt(&self, change: &Change) -> Written {
        let (choice, millis) = {
            let mut random = lock(&self.random);
            (random.u8(..3), random.u64(..2_000))
        };
        match choice {
            0 => {
                self.database.apply(change, true);
            }
            1 => {
                let (database, change) = (self.database.clone(), change.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    database.apply(&change, true);
                });
            }
            _ => {}
        }
        if self.bug == Some(Bug::UnknownTakenForFailure) { Written::No } else { Written::Unknown }
    }
}

impl Store for SimulatedStore {
    async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
        self.delay().await;
        if self.chance(4) {
            return Err(StoreError::new("simulated"));
        }
        let mut found: Vec<Found> = ids.iter().map(|id| Ok(self.database.session(id))).collect();
        if self.bug == Some(Bug::SwappedReads) {
            found.reverse();
        }
        self.delay().await;
        Ok(found)
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
        self.delay().await;
        if self.chance(4) {
            return Err(StoreError::new("simulated, and nothing written"));
        }
        if self.chance(6) {
            for change in changes {
                self.write_in_doubt(change);
            }
            if self.bug == Some(Bug::UnknownTakenForFailure) {
                return Ok(vec![Written::No; changes.len()]);
            }
            return Err(StoreError::new("simulated, and some of it written"));
        }
        let mut written: Vec<Written> = changes
            .iter()
            .map(|change| if self.chance(5) { self.write_in_doubt(change) } else { self.write_one(change) })
            .collect();
        if self.bug == Some(Bug::SwappedAnswers) {
            written.reverse();
        }
        self.delay().await;
        Ok(written)
    }
}
