//! A store in memory that does to a server what databases do on a bad day, and on request lies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use midsession::AnySession;
use midsession_server::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};
use tokio::time::sleep;

/// The database that the servers of a run share. It holds the stored form, and keeps every write.
#[derive(Default)]
pub struct Database {
    rows: Mutex<HashMap<String, (u64, String)>>,
    writes: Mutex<Vec<ConditionalWrite>>,
    /// What a weak read may show in place of what is stored: what was stored before, and what was never made durable.
    ghosts: Mutex<HashMap<String, AnySession>>,
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
    pub fn writes(&self) -> Vec<ConditionalWrite> {
        lock(&self.writes).clone()
    }

    fn apply(&self, change: &ConditionalWrite, condition: Condition) -> bool {
        let mut rows = lock(&self.rows);
        let stored = rows.get(&*change.id);
        let revision_stands = stored.map(|(revision, _)| *revision) == change.expected;
        let stands = match (condition, &change.weakly_read) {
            (Condition::None, _) => true,
            (Condition::Whole, Some(expected)) => {
                stored.is_some_and(|(_, record)| *record == serde_json::to_string(expected).unwrap())
            }
            (Condition::Whole | Condition::Revision, _) => revision_stands,
        };
        if !stands {
            return false;
        }
        if let Some((_, record)) = stored {
            lock(&self.ghosts).insert(change.id.to_string(), serde_json::from_str(record).unwrap());
        }
        let record = serde_json::to_string(&change.next).unwrap();
        rows.insert(change.id.to_string(), (change.next.revision(), record));
        lock(&self.writes).push(change.clone());
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must stand for a change to be written.
#[derive(Clone, Copy)]
enum Condition {
    Whole,
    Revision,
    None,
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
    /// Reads what may be no longer current, or never durable, as a weak read may.
    WeakReads,
    /// Writes after a weak read if the revision stands, though it may be that of another session.
    WeakReadRevisionAlone,
}

/// One server's connection to the database.
pub struct SimulatedStore {
    database: Arc<Database>,
    random: Mutex<Rng>,
    /// Whether it offers weak reads.
    has_weak_reads: bool,
    bug: Option<Bug>,
}

impl SimulatedStore {
    pub fn new(database: Arc<Database>, mut random: Rng, bug: Option<Bug>) -> Self {
        let has_weak_reads = random.bool();
        Self { database, random: Mutex::new(random), has_weak_reads, bug }
    }

    /// Of each id what a weak read shows.
    fn weakly_read(&self, ids: &[&str]) -> Vec<ReadOutcome> {
        let ghost = |id: &str| lock(&self.database.ghosts).get(id).cloned().filter(|_| self.chance(20));
        ids.iter().map(|id| Ok(ghost(id).or_else(|| self.database.session(id)))).collect()
    }

    fn condition(&self) -> Condition {
        match self.bug {
            Some(Bug::WriteWithoutCondition) => Condition::None,
            Some(Bug::WeakReadRevisionAlone) => Condition::Revision,
            _ => Condition::Whole,
        }
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

    fn write_one(&self, change: &ConditionalWrite) -> WriteOutcome {
        match self.bug {
            Some(Bug::AnswerBeforeTheCommit) if self.chance(50) => {
                let (database, change) = (self.database.clone(), change.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(30)).await;
                    database.apply(&change, Condition::Whole);
                });
                return WriteOutcome::Applied;
            }
            _ => {}
        }
        let written = self.database.apply(change, self.condition());
        if written || self.bug == Some(Bug::DroppedLoser) { WriteOutcome::Applied } else { WriteOutcome::Conflict }
    }

    /// The same outcome with less said about it: the write is made, or not, or a little later.
    fn write_unknown(&self, change: &ConditionalWrite) -> WriteOutcome {
        let (choice, millis) = {
            let mut random = lock(&self.random);
            (random.u8(..3), random.u64(..2_000))
        };
        match choice {
            0 => {
                self.database.apply(change, self.condition());
            }
            1 => {
                let (database, change, condition) = (self.database.clone(), change.clone(), self.condition());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    database.apply(&change, condition);
                });
            }
            _ => {
                lock(&self.database.ghosts).insert(change.id.to_string(), change.next.clone());
            }
        }
        if self.bug == Some(Bug::UnknownTakenForFailure) { WriteOutcome::Conflict } else { WriteOutcome::Unknown }
    }
}

impl Store for SimulatedStore {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        self.delay().await;
        if self.chance(4) {
            return Err(StoreError::new("simulated"));
        }
        let mut found: Vec<ReadOutcome> = ids.iter().map(|id| Ok(self.database.session(id))).collect();
        if self.bug == Some(Bug::WeakReads) {
            found = self.weakly_read(ids);
        }
        if self.bug == Some(Bug::SwappedReads) {
            found.reverse();
        }
        self.delay().await;
        Ok(found)
    }

    async fn read_weak(&self, ids: &[&str]) -> Result<Option<Vec<ReadOutcome>>, StoreError> {
        if !self.has_weak_reads {
            return Ok(None);
        }
        self.delay().await;
        if self.chance(4) {
            return Err(StoreError::new("simulated"));
        }
        let weakly_read = self.weakly_read(ids);
        self.delay().await;
        Ok(Some(weakly_read))
    }

    async fn write(&self, changes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        self.delay().await;
        if self.chance(4) {
            return Err(StoreError::new("simulated, and nothing written"));
        }
        if self.chance(6) {
            for change in changes {
                self.write_unknown(change);
            }
            if self.bug == Some(Bug::UnknownTakenForFailure) {
                return Ok(vec![WriteOutcome::Conflict; changes.len()]);
            }
            return Err(StoreError::new("simulated, and some of it written"));
        }
        let mut written: Vec<WriteOutcome> = changes
            .iter()
            .map(|change| if self.chance(5) { self.write_unknown(change) } else { self.write_one(change) })
            .collect();
        if self.bug == Some(Bug::SwappedAnswers) {
            written.reverse();
        }
        self.delay().await;
        Ok(written)
    }
}
