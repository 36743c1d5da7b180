//! A store in memory, which shows what a store is, and which can be told to fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midsession::AnySession;
use midsession_server::{ConditionalWrite, ReadOutcome, Store, StoreError, WriteOutcome};

/// A clone is another client of the same.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sessions: HashMap<String, AnySession>,
    /// The faults of the next calls of `write`, the first first.
    faults: Vec<Fault>,
    /// How many writes each call of `write` was asked for.
    batches: Vec<usize>,
    /// What was written, in order.
    writes: Vec<ConditionalWrite>,
    /// How often it was read.
    reads: usize,
    /// What a weak read shows, if there are weak reads.
    weak_reads: Option<HashMap<String, Option<AnySession>>>,
    unreadable: Vec<String>,
    /// The part that has an id, if it is not the first.
    parts: HashMap<String, usize>,
    /// The part of the database that answers nothing.
    hanging: Option<usize>,
    /// How long a read that is no weak one takes.
    slow_reads: Duration,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// It writes after this time.
    Slow(Duration),
    /// It writes, and says that it does not know.
    Forgets,
    /// It writes, and never answers.
    Hangs,
    /// It does not write, and says that it does not know.
    Breaks,
    /// It does not write now, says that it does not know, and writes this long after.
    Late(Duration),
    /// It writes something else first, as another server might: this under that id.
    LosesTo(String, AnySession),
    /// It refuses, and says so.
    Refuses,
    /// It refuses the write of this id, says so, and makes the others.
    RefusesOne(String),
    /// Something else holds the session of this id: it says so, and makes the others.
    Holds(String),
    /// It does not write this id, says that it does not know, and makes the others.
    LosesTrackOf(String),
    Panics,
    /// It writes, and gives an answer too few.
    Miscounts,
}

impl Memory {
    pub fn put(&self, id: &str, session: AnySession) {
        self.0.lock().unwrap().sessions.insert(id.to_owned(), session);
    }

    pub fn get(&self, id: &str) -> Option<AnySession> {
        self.0.lock().unwrap().sessions.get(id).cloned()
    }

    /// The next writes have these faults.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    pub fn make_unreadable(&self, id: &str) {
        self.0.lock().unwrap().unreadable.push(id.to_owned());
    }

    /// From now on it has weak reads. They show what is stored, except for this.
    pub fn read_weakly_as<const N: usize>(&self, ghosts: [(&str, Option<AnySession>); N]) {
        let ghosts = ghosts.into_iter().map(|(id, session)| (id.to_owned(), session)).collect();
        self.0.lock().unwrap().weak_reads = Some(ghosts);
    }

    /// The part of the database that has this id.
    pub fn put_into_part(&self, id: &str, part: usize) {
        self.0.lock().unwrap().parts.insert(id.to_owned(), part);
    }

    /// From now on a call that asks for an id of this part is never answered.
    pub fn hang_part(&self, part: usize) {
        self.0.lock().unwrap().hanging = Some(part);
    }

    pub fn slow_reads(&self, time: Duration) {
        self.0.lock().unwrap().slow_reads = time;
    }

    /// Waits for ever if one of them is in the part that hangs.
    async fn wait_for<'a>(&self, mut ids: impl Iterator<Item = &'a str>) {
        let hanging = self.0.lock().unwrap().hanging;
        if hanging.is_some() && ids.any(|id| Some(self.partition(id)) == hanging) {
            std::future::pending::<()>().await;
        }
    }

    pub fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }

    pub fn batches(&self) -> Vec<usize> {
        self.0.lock().unwrap().batches.clone()
    }

    pub fn writes(&self) -> Vec<ConditionalWrite> {
        self.0.lock().unwrap().writes.clone()
    }

    fn write_now(&self, writes: &[ConditionalWrite]) -> Vec<WriteOutcome> {
        self.write_but(writes, None)
    }

    /// All but one, of which it says this.
    fn write_but(&self, writes: &[ConditionalWrite], other: Option<(&str, WriteOutcome)>) -> Vec<WriteOutcome> {
        let state = &mut *self.0.lock().unwrap();
        let write_one = |write: &ConditionalWrite| {
            if let Some((id, outcome)) = other
                && id == &*write.id
            {
                return outcome;
            }
            let stored = state.sessions.get(&*write.id);
            let as_read = write.weakly_read.is_none() || write.weakly_read.as_ref() == stored;
            if stored.map(AnySession::revision) != write.expected || !as_read {
                return WriteOutcome::Conflict;
            }
            state.sessions.insert(write.id.to_string(), write.next.clone());
            state.writes.push(write.clone());
            WriteOutcome::Applied
        };
        writes.iter().map(write_one).collect()
    }
}

impl Store for Memory {
    async fn read(&self, ids: &[&str]) -> Result<Vec<ReadOutcome>, StoreError> {
        self.wait_for(ids.iter().copied()).await;
        let time = self.0.lock().unwrap().slow_reads;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        let mut state = self.0.lock().unwrap();
        state.reads += 1;
        let found = ids.iter().map(|id| {
            if state.unreadable.iter().any(|unreadable| unreadable == id) {
                return Ok(serde_json::from_str("{}").map(Some)?);
            }
            Ok(state.sessions.get(*id).cloned())
        });
        Ok(found.collect())
    }

    async fn read_weak(&self, ids: &[&str]) -> Result<Option<Vec<ReadOutcome>>, StoreError> {
        self.wait_for(ids.iter().copied()).await;
        let state = self.0.lock().unwrap();
        let Some(ghosts) = &state.weak_reads else { return Ok(None) };
        let shown = |id: &&str| ghosts.get(*id).cloned().unwrap_or_else(|| state.sessions.get(*id).cloned());
        Ok(Some(ids.iter().map(shown).map(Ok).collect()))
    }

    fn partition(&self, id: &str) -> usize {
        self.0.lock().unwrap().parts.get(id).copied().unwrap_or_default()
    }

    async fn write(&self, writes: &[ConditionalWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        self.wait_for(writes.iter().map(|write| &*write.id)).await;
        let fault = {
            let mut state = self.0.lock().unwrap();
            state.batches.push(writes.len());
            if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) }
        };
        let unknown = Ok(vec![WriteOutcome::Unknown; writes.len()]);
        match fault {
            None => return Ok(self.write_now(writes)),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                return Ok(self.write_now(writes));
            }
            Some(Fault::Forgets) => drop(self.write_now(writes)),
            Some(Fault::Hangs) => {
                self.write_now(writes);
                std::future::pending::<()>().await;
            }
            Some(Fault::Breaks) => return Err(StoreError::new("broken")),
            Some(Fault::Late(time)) => {
                let (store, writes) = (self.clone(), writes.to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    store.write_now(&writes)
                });
            }
            Some(Fault::LosesTo(id, session)) => {
                self.put(&id, session);
                return Ok(self.write_now(writes));
            }
            Some(Fault::Refuses) => return Err(StoreError::nothing_written("refused")),
            Some(Fault::RefusesOne(id)) => return Ok(self.write_but(writes, Some((&id, WriteOutcome::Refused)))),
            Some(Fault::Holds(id)) => return Ok(self.write_but(writes, Some((&id, WriteOutcome::Busy)))),
            Some(Fault::LosesTrackOf(id)) => {
                return Ok(self.write_but(writes, Some((&id, WriteOutcome::Unknown))));
            }
            Some(Fault::Panics) => panic!("as told"),
            Some(Fault::Miscounts) => return Ok(self.write_now(writes).split_off(1)),
        }
        unknown
    }
}
