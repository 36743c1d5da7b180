//! A store in memory that does to a server what databases do on a bad day, and on request lies.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use midsession::AnySession;
use midsession_server::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};
use tokio::time::{Instant, sleep};

/// How many parts the database has.
const PARTS: usize = 2;

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
    /// Says that it refused a write that it has made.
    WrittenThoughRefused,
    /// Says of a session that something holds it, and has written it.
    WrittenThoughHeld,
    /// Says that nothing was written, and some of it was.
    NothingWrittenButSome,
    /// Takes a record that is out of reach for none.
    OutOfReachTakenForNone,
    /// Takes a record that it cannot read for none.
    UnreadableTakenForNone,
}

/// One server's connection to the database.
pub struct SimulatedStore {
    database: Arc<Database>,
    random: Mutex<Rng>,
    /// Whether it offers weak reads.
    has_weak_reads: bool,
    /// The part of the database that is slow for some seconds, if there is one.
    slow_part: Option<usize>,
    started: Instant,
    /// The ids of each call of `write`, and when it was made.
    asked: Mutex<Vec<(Duration, String)>>,
    bug: Option<Bug>,
}

impl SimulatedStore {
    /// Whether it was asked to write this id in that time.
    pub fn was_asked_to_write(&self, id: &str, time: RangeInclusive<Duration>) -> bool {
        lock(&self.asked).iter().any(|(at, asked)| time.contains(at) && asked == id)
    }

    pub fn new(database: Arc<Database>, mut random: Rng, bug: Option<Bug>) -> Self {
        let has_weak_reads = random.bool();
        let slow_part = Some(random.usize(..3)).filter(|part| *part < PARTS);
        let (random, started, asked) = (Mutex::new(random), Instant::now(), Mutex::default());
        Self { database, random, has_weak_reads, slow_part, started, asked, bug }
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

    /// What is read of one id: some records cannot be read, or are out of reach for the moment.
    fn read_one(&self, id: &str) -> ReadOutcome {
        if self.chance(2) {
            return if self.bug == Some(Bug::UnreadableTakenForNone) {
                Ok(None)
            } else {
                Ok(Some(serde_json::from_str::<AnySession>("{}")?))
            };
        }
        if self.chance(2) {
            return if self.bug == Some(Bug::OutOfReachTakenForNone) {
                Ok(None)
            } else {
                Err(StoreError::new("simulated, of one record").into())
            };
        }
        Ok(self.database.session(id))
    }

    /// A client of a database may panic, before or after it has done its work. It is silent: there are many.
    fn panic_at_times(&self) {
        if self.chance(1) {
            std::panic::resume_unwind(Box::new("simulated"));
        }
    }

    /// Most answers are quick; some take longer than a request waits.
    async fn delay<'a>(&self, mut ids: impl Iterator<Item = &'a str>) {
        let slow = (4..9).contains(&self.started.elapsed().as_secs());
        if slow && self.slow_part.is_some() && ids.any(|id| Some(self.partition(id)) == self.slow_part) {
            sleep(Duration::from_millis(1_200)).await;
        }
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
        if self.bug == Some(Bug::AnswerBeforeTheCommit) && self.chance(50) {
            let (database, change) = (self.database.clone(), change.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(30)).await;
                database.apply(&change, Condition::Whole);
            });
            return WriteOutcome::Applied;
        }
        if self.chance(5) {
            return self.not_made(change, WriteOutcome::Refused, Bug::WrittenThoughRefused);
        }
        if self.chance(8) {
            return self.not_made(change, WriteOutcome::Busy, Bug::WrittenThoughHeld);
        }
        let written = self.database.apply(change, self.condition());
        if written || self.bug == Some(Bug::DroppedLoser) { WriteOutcome::Applied } else { WriteOutcome::Conflict }
    }

    fn not_made(&self, change: &ConditionalWrite, said: WriteOutcome, bug: Bug) -> WriteOutcome {
        if self.bug == Some(bug) {
            self.database.apply(change, self.condition());
        }
        said
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
        self.delay(ids.iter().copied()).await;
        self.panic_at_times();
        if self.chance(4) {
            return Err(StoreError::new("simulated"));
        }
        let mut found: Vec<ReadOutcome> = ids.iter().map(|id| self.read_one(id)).collect();
        if self.bug == Some(Bug::WeakReads) {
            found = self.weakly_read(ids);
        }
        if self.bug == Some(Bug::SwappedReads) {
            found.reverse();
        }
        self.delay(ids.iter().copied()).await;
        Ok(found)
    }

    async fn read_weak(&self, ids: &[&str]) -> Result<Option<Vec<ReadOutcome>>, StoreError> {
        if !self.has_weak_reads {
            return Ok(None);
        }
        self.delay(ids.iter().copied()).await;
        if self.chance(4) {
            return Err(StoreError::new("simulated"));
        }
        let weakly_read = self.weakly_read(ids);
        self.delay(ids.iter().copied()).await;
        Ok(Some(weakly_read))
    }

    fn partition(&self, id: &str) -> usize {
        id.bytes().map(usize::from).sum::<usize>() % PARTS
    }

    async fn write(&self, changes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        let ids = || changes.iter().map(|change| &*change.id);
        lock(&self.asked).extend(ids().map(|id| (self.started.elapsed(), id.to_owned())));
        self.delay(ids()).await;
        self.panic_at_times();
        if self.chance(4) {
            return Err(StoreError::new("simulated, and nothing written"));
        }
        if self.chance(4) {
            if self.bug == Some(Bug::NothingWrittenButSome) {
                self.write_one(&changes[0]);
            }
            return Err(StoreError::nothing_written("simulated"));
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
        self.panic_at_times();
        self.delay(ids()).await;
        Ok(written)
    }
}
