//! A store in memory, which shows what a store is, and which can be told to fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midsession::AnySession;
use midsession_server::{Change, Found, Store, StoreError, Written};

/// A clone is another client of the same.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sessions: HashMap<String, AnySession>,
    /// The faults of the next calls of `write`, the first first.
    faults: Vec<Fault>,
    /// How many changes each call of `write` was asked for.
    batches: Vec<usize>,
    /// How often it was read.
    reads: usize,
    /// What a glance shows, if there are glances.
    glances: Option<HashMap<String, Option<AnySession>>>,
    unreadable: Vec<String>,
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

    /// From now on it has glances. They show what is stored, except for this.
    pub fn glance_at<const N: usize>(&self, ghosts: [(&str, Option<AnySession>); N]) {
        let ghosts = ghosts.into_iter().map(|(id, session)| (id.to_owned(), session)).collect();
        self.0.lock().unwrap().glances = Some(ghosts);
    }

    pub fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }

    pub fn batches(&self) -> Vec<usize> {
        self.0.lock().unwrap().batches.clone()
    }

    fn write_now(&self, changes: &[Change]) -> Vec<Written> {
        let sessions = &mut self.0.lock().unwrap().sessions;
        changes
            .iter()
            .map(|change| {
                let stored = sessions.get(&change.id);
                let as_glanced = change.glanced.is_none() || change.glanced.as_ref() == stored;
                if stored.map(AnySession::revision) != change.expected || !as_glanced {
                    return Written::No;
                }
                sessions.insert(change.id.clone(), change.next.clone());
                Written::Yes
            })
            .collect()
    }
}

impl Store for Memory {
    async fn read(&self, ids: &[&str]) -> Result<Vec<Found>, StoreError> {
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

    async fn glance(&self, ids: &[&str]) -> Result<Option<Vec<Found>>, StoreError> {
        let state = self.0.lock().unwrap();
        let Some(ghosts) = &state.glances else { return Ok(None) };
        let shown = |id: &&str| ghosts.get(*id).cloned().unwrap_or_else(|| state.sessions.get(*id).cloned());
        Ok(Some(ids.iter().map(shown).map(Ok).collect()))
    }

    async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StoreError> {
        let fault = {
            let mut state = self.0.lock().unwrap();
            state.batches.push(changes.len());
            if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) }
        };
        let unknown = Ok(vec![Written::Unknown; changes.len()]);
        match fault {
            None => return Ok(self.write_now(changes)),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                return Ok(self.write_now(changes));
            }
            Some(Fault::Forgets) => drop(self.write_now(changes)),
            Some(Fault::Hangs) => {
                self.write_now(changes);
                std::future::pending::<()>().await;
            }
            Some(Fault::Breaks) => return Err(StoreError::new("broken")),
            Some(Fault::Late(time)) => {
                let (store, changes) = (self.clone(), changes.to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    store.write_now(&changes)
                });
            }
            Some(Fault::LosesTo(id, session)) => {
                self.put(&id, session);
                return Ok(self.write_now(changes));
            }
            Some(Fault::Refuses) => return Err(StoreError::nothing_written("refused")),
            Some(Fault::Panics) => panic!("as told"),
            Some(Fault::Miscounts) => return Ok(self.write_now(changes).split_off(1)),
        }
        unknown
    }
}
