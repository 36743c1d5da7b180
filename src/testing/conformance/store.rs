//! The kit for stores: what a team runs to know that its own database keeps sessions as this crate needs it.
//!
//! Implement [`Driver`] for your store, then check every [`Rule`]. The store must be empty at the start, because the kit
//! chooses the ids; a rule that finds something under its ids before its first write says so in its error. The kit does no I/O itself. A [`Mismatch`] names the broken rule in plain words and shows what differed.
//!
//! ```
//! use std::collections::HashMap;
//! use std::convert::Infallible;
//! use std::sync::Mutex;
//! use std::thread;
//!
//! use midsession::testing::conformance::store::{Change, Driver, Rule};
//!
//! #[derive(Default)]
//! struct Memory(Mutex<HashMap<String, (u64, String)>>);
//!
//! impl Memory {
//!     fn write_all(&self, changes: &[Change]) -> Vec<bool> {
//!         let mut stored = self.0.lock().unwrap();
//!         let mut write = |change: &Change| {
//!             let revision = stored.get(&change.id).map(|(revision, _)| *revision);
//!             if revision != change.expected {
//!                 return false;
//!             }
//!             stored.insert(change.id.clone(), (change.revision, change.record.clone()));
//!             true
//!         };
//!         changes.iter().map(&mut write).collect()
//!     }
//! }
//!
//! impl Driver for Memory {
//!     type Error = Infallible;
//!
//!     fn read(&mut self, ids: &[&str]) -> Result<Vec<Option<String>>, Infallible> {
//!         let stored = self.0.lock().unwrap();
//!         Ok(ids.iter().map(|id| Some(stored.get(*id)?.1.clone())).collect())
//!     }
//!
//!     fn write(&mut self, changes: &[Change]) -> Result<Vec<bool>, Infallible> {
//!         Ok(self.write_all(changes))
//!     }
//!
//!     fn race(&mut self, writers: &[Vec<Change>]) -> Result<Vec<Vec<bool>>, Infallible> {
//!         let store = &*self;
//!         Ok(thread::scope(|scope| {
//!             let mut running = Vec::new();
//!             for changes in writers {
//!                 running.push(scope.spawn(|| store.write_all(changes)));
//!             }
//!             running.into_iter().map(|writer| writer.join().unwrap()).collect()
//!         }))
//!     }
//! }
//!
//! let mut store = Memory::default();
//! for rule in Rule::ALL {
//!     rule.check(&mut store)?;
//! }
//! # Ok::<(), midsession::testing::conformance::store::Mismatch>(())
//! ```
//!
//! # What it asks for
//! A store reads many sessions at once, and writes many at once, each on condition of its own revision.
//!
//! - If your store is asynchronous, block in the driver.
//! - If it takes and returns sessions, as the trait `Store` of `midsession-server` does, deserialize the kit's record to an
//!   [`AnySession`], and serialize what is read. That gives the same bytes.
//! - If it keeps JSON as a parsed tree (`jsonb`), do the same. The database writes the tree as another text.
//!
//! What a store survives (a crash, a lost disk, a failover) cannot be seen through these methods. Test that on the
//! database itself.

mod samples;

// The core is `no_std`; what is for tests only need not be.
use core::fmt;
use std::prelude::rust_2024::*;
use std::{format, vec};

use super::visible;
use crate::AnySession;

/// Your store, as the kit drives it.
///
/// All methods block until the store has answered.
pub trait Driver {
    /// Why the store could not be asked. The kit puts its text into the [`Mismatch`].
    type Error: fmt::Display;

    /// The records that are stored under `ids`, in the order of `ids`; `None` where there is none. The ids differ from
    /// each other, and there are at most 512.
    ///
    /// # Errors
    /// - The store did not answer, or refused.
    fn read(&mut self, ids: &[&str]) -> Result<Vec<Option<String>>, Self::Error>;

    /// Writes each of `changes` whose [`expected`](Change::expected) revision is the stored one, all in one batch if the
    /// store has batches. Returns for each change, in order, whether it was written. A change that is not written does not
    /// prevent the others. The ids differ from each other, and there are at most 512.
    ///
    /// # Errors
    /// - The store did not answer, or refused.
    fn write(&mut self, changes: &[Change]) -> Result<Vec<bool>, Self::Error>;

    /// Writes each of `writers` as [`write`](Self::write) does, all of them at the same time: each on its own thread or
    /// task, and on its own connection. Returns the answers to each writer, in order.
    ///
    /// Try again here what your server tries again, such as a transaction that was the victim of a deadlock.
    ///
    /// Where the driver cannot run threads, it writes one after the other. The rules of races then prove nothing.
    ///
    /// # Errors
    /// - The store did not answer one of the writers, or refused.
    fn race(&mut self, writers: &[Vec<Change>]) -> Result<Vec<Vec<bool>>, Self::Error>;
}

/// One conditional write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Change {
    /// The session's id: 1 to 255 of the characters that an [`Endpoint`](crate::Endpoint) takes, all of them ASCII.
    pub id: String,
    /// The revision that must be stored for this to be written. `None`: nothing must be stored under the id.
    pub expected: Option<u64>,
    /// The revision to store. The record has it too.
    pub revision: u64,
    /// The record to store: an [`AnySession`], serialized to JSON.
    pub record: String,
}

/// A rule that a store keeps. `Display` is the rule in words.
///
/// New rules may come with a minor release, so match with a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Nothing is stored under an id until something is written.
    UnknownId,
    /// Records come back byte for byte.
    Records,
    /// Revisions are exact up to the greatest `u64`.
    Revisions,
    /// Only the first insert of an id is written.
    InsertTwice,
    /// A stale revision writes nothing.
    StaleRevision,
    /// An update of an unknown id writes nothing.
    UpdateUnknown,
    /// Ids that look alike are different sessions.
    LookAlikeIds,
    /// Ids of up to 255 characters are compared whole.
    LongIds,
    /// A read answers in the order of its ids.
    ReadOrder,
    /// Each change of a batch is answered for itself, in order.
    Batch,
    /// Of racing inserts one is written.
    InsertRace,
    /// Of racing updates one is written.
    UpdateRace,
    /// Racing batches on the same sessions all come to an end.
    BatchRace,
}

impl Rule {
    /// All rules. The order is that of the checks, from simple to intricate.
    pub const ALL: &'static [Self] = &[
        Self::UnknownId,
        Self::Records,
        Self::Revisions,
        Self::InsertTwice,
        Self::StaleRevision,
        Self::UpdateUnknown,
        Self::LookAlikeIds,
        Self::LongIds,
        Self::ReadOrder,
        Self::Batch,
        Self::InsertRace,
        Self::UpdateRace,
        Self::BatchRace,
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::UnknownId => "nothing is stored under an id until something is written under it",
            Self::Records => "every record comes back byte for byte",
            Self::Revisions => "revisions are compared exactly, from 0 to 18446744073709551615",
            Self::InsertTwice => "an insert under an id that is taken writes nothing and says so",
            Self::StaleRevision => "a change of a revision that is not the stored one writes nothing and says so",
            Self::UpdateUnknown => "an update of an id that is not stored writes nothing and says so",
            Self::LookAlikeIds => "ids that look alike (in case, dots, one character) are different sessions",
            Self::LongIds => "ids have up to 255 characters and are compared whole",
            Self::ReadOrder => "a read of many ids answers each, in the order of the ids",
            Self::Batch => "each change of a batch is written or not for itself, and answered in order",
            Self::InsertRace => "of inserts that race exactly one is written, and its record is stored",
            Self::UpdateRace => "of updates that race exactly one is written, and its record is stored",
            Self::BatchRace => "of batches that race over the same sessions exactly one wins each session",
        }
    }

    /// Checks that the store keeps this rule.
    ///
    /// Each rule has ids of its own, so that rules can be checked in any order or left out, but each only once on a store.
    ///
    /// # Errors
    /// - The store breaks the rule.
    /// - It returned an error, or the wrong number of answers.
    pub fn check<D: Driver>(self, driver: &mut D) -> Result<(), Mismatch> {
        let mut check = Check { rule: self, driver, has_written: false };
        match self {
            Self::UnknownId => check.unknown_id(),
            Self::Records => check.records(),
            Self::Revisions => check.revisions(),
            Self::InsertTwice => check.insert_twice(),
            Self::StaleRevision => check.stale_revision(),
            Self::UpdateUnknown => check.update_unknown(),
            Self::LookAlikeIds => samples::LOOK_ALIKES.iter().try_for_each(|ids| check.apart(ids)),
            Self::LongIds => check.long_ids(),
            Self::ReadOrder => check.read_order(),
            Self::Batch => check.batch(),
            Self::InsertRace => check.race("race-insert", None),
            Self::UpdateRace => check.race("race-update", Some(0)),
            Self::BatchRace => check.batch_race(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

/// Which rule a store breaks, and what differed. `Display` says it in words, over several lines.
///
/// White space is shown (a space as `␣`). It repeats what the store returned, which for records of the kit is nobody's
/// data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the store breaks the rule {rule:?}\n  the rule: {rule}{difference}")]
pub struct Mismatch {
    rule: Rule,
    difference: String,
}

impl Mismatch {
    /// The rule that is broken.
    pub const fn rule(&self) -> Rule {
        self.rule
    }
}

/// How many writers race.
const WRITERS: u64 = 8;
/// How often they do. The first threads to start have often finished before the last one starts.
const ROUNDS: u64 = 16;
/// How many ids a batch has at most.
const MANY: u64 = 512;

struct Check<'d, D> {
    rule: Rule,
    driver: &'d mut D,
    has_written: bool,
}

impl<D: Driver> Check<'_, D> {
    fn unknown_id(&mut self) -> Result<(), Mismatch> {
        self.stored(&[("unknown", None)])?;
        self.stored(&[("unknown-1", None), ("unknown-2", None), ("unknown-3", None)])?;
        let known = plain("known", 0);
        self.insert(&known)?;
        self.stored(&[("unknown", None), ("known", Some(&known.record)), ("unknown-1", None)])
    }

    fn records(&mut self) -> Result<(), Mismatch> {
        let forms = samples::stored_forms();
        let changes: Vec<Change> = forms.iter().map(|(name, session)| change(name, session)).collect();
        for inserted in &changes {
            self.insert(inserted)?;
        }
        self.all_stored(&changes)?;
        for form in &changes {
            let mut updated = Change { id: format!("{}-updated", form.id), ..form.clone() };
            let plain = plain(&updated.id, 7);
            self.insert(&plain)?;
            updated.expected = Some(plain.revision);
            self.written(&updated, true)?;
            self.one_stored(&updated)?;
        }
        self.all_stored(&changes)
    }

    fn revisions(&mut self) -> Result<(), Mismatch> {
        let revisions = samples::REVISIONS;
        let id = |revision: u64| format!("revision-{revision}");
        let stored: Vec<Change> = revisions.iter().map(|&revision| plain(&id(revision), revision)).collect();
        for inserted in &stored {
            self.insert(inserted)?;
        }
        for &expected in &revisions {
            for current in stored.iter().filter(|current| current.revision != expected) {
                self.written(&Change { expected: Some(expected), ..plain(&current.id, 7) }, false)?;
            }
        }
        self.all_stored(&stored)?;
        for (current, &next) in stored.iter().zip(revisions.iter().cycle().skip(1)) {
            let updated = Change { expected: Some(current.revision), ..plain(&current.id, next) };
            self.written(&updated, true)?;
            self.one_stored(&updated)?;
        }
        Ok(())
    }

    fn insert_twice(&mut self) -> Result<(), Mismatch> {
        let first = plain("twice", 0);
        self.insert(&first)?;
        for second in [first.clone(), plain("twice", 1), named("twice", 0, "someone else")] {
            self.written(&second, false)?;
            self.one_stored(&first)?;
        }
        Ok(())
    }

    fn stale_revision(&mut self) -> Result<(), Mismatch> {
        self.insert(&plain("stale", 4))?;
        let current = Change { expected: Some(4), ..plain("stale", 5) };
        self.written(&current, true)?;
        for expected in [4, 6, 0, 3] {
            for revision in [5, 6, 7] {
                let stale = Change { expected: Some(expected), ..named("stale", revision, "someone else") };
                self.written(&stale, false)?;
                self.one_stored(&current)?;
            }
        }
        Ok(())
    }

    fn update_unknown(&mut self) -> Result<(), Mismatch> {
        for expected in [0, 1, u64::MAX] {
            let update = Change { expected: Some(expected), ..plain("not-there", 1) };
            self.written(&update, false)?;
            self.stored(&[("not-there", None)])?;
        }
        self.insert(&plain("not-there", 0))
    }

    fn long_ids(&mut self) -> Result<(), Mismatch> {
        let ids = samples::long_ids();
        self.apart(&ids.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// That each of `ids` is a session of its own: to insert, to read and to update.
    fn apart(&mut self, ids: &[&str]) -> Result<(), Mismatch> {
        let nothing: Vec<(&str, Option<&str>)> = ids.iter().map(|&id| (id, None)).collect();
        self.stored(&nothing)?;
        let mut all: Vec<Change> = ids.iter().map(|&id| plain(id, 0)).collect();
        for inserted in &all {
            self.insert(inserted)?;
        }
        self.all_stored(&all)?;
        // The last one alone: a write that takes others for it would show in them.
        if let Some(last) = all.last_mut() {
            *last = Change { expected: Some(0), ..plain(&last.id, 1) };
            self.written(last, true)?;
        }
        self.all_stored(&all)?;
        all.iter().try_for_each(|one| self.one_stored(one))
    }

    fn read_order(&mut self) -> Result<(), Mismatch> {
        let all: Vec<Change> = (0..MANY).map(|number| plain(&format!("many-{number}"), number)).collect();
        self.batch_written(&all, &vec![true; all.len()])?;
        self.all_stored(&all)?;
        let backwards: Vec<Change> = all.iter().rev().cloned().collect();
        self.all_stored(&backwards)?;
        // Every third one is not there: an answer must not slip into the place of another.
        let absent: Vec<String> = (0..MANY).map(|number| format!("absent-{number}")).collect();
        let mixed = shuffled(all.len()).into_iter().filter_map(|at| Some((at, all.get(at)?, absent.get(at)?)));
        let mixed: Vec<_> = mixed
            .map(|(at, there, absent)| if at % 3 == 0 { (&**absent, None) } else { (&*there.id, Some(&*there.record)) })
            .collect();
        self.stored(&mixed)
    }

    fn batch(&mut self) -> Result<(), Mismatch> {
        let ids: Vec<String> = shuffled(40).iter().map(|number| format!("batch-{number}")).collect();
        let (mut changes, mut answers, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            // Every kind in turn, a stale one first. The answers read backwards are others.
            let (before, expected) = match at % 5 {
                0 => (Some(3), Some(2)),
                1 => (None, None),
                2 => (Some(3), Some(3)),
                3 => (Some(3), None),
                _ => (None, Some(3)),
            };
            let before = before.map(|revision| plain(id, revision));
            if let Some(before) = &before {
                self.insert(before)?;
            }
            let change = Change { expected, ..named(id, 4, "someone else") };
            let is_written = before.as_ref().map(|before| before.revision) == expected;
            stored.push(if is_written { Some(change.record.clone()) } else { before.map(|before| before.record) });
            answers.push(is_written);
            changes.push(change);
        }
        self.batch_written(&changes, &answers)?;
        let stored: Vec<_> = ids.iter().zip(&stored).map(|(id, record)| (id.as_str(), record.as_deref())).collect();
        self.stored(&stored)?;
        // Once more: nothing of it is current now.
        self.batch_written(&changes, &vec![false; changes.len()])?;
        self.stored(&stored)
    }

    fn race(&mut self, name: &str, expected: Option<u64>) -> Result<(), Mismatch> {
        for round in 0..ROUNDS {
            let id = format!("{name}-{round}");
            if let Some(revision) = expected {
                self.insert(&plain(&id, revision))?;
            }
            let writer = |number| vec![Change { expected, ..named(&id, 1, &format!("writer {number}")) }];
            self.one_wins(&(0..WRITERS).map(writer).collect::<Vec<_>>(), &[&id])?;
        }
        Ok(())
    }

    fn batch_race(&mut self) -> Result<(), Mismatch> {
        for round in 0..ROUNDS {
            let ids: Vec<String> = (0..WRITERS).map(|number| format!("race-batch-{round}-{number}")).collect();
            let before: Vec<Change> = ids.iter().map(|id| plain(id, 0)).collect();
            self.batch_written(&before, &vec![true; before.len()])?;
            // Half of the writers go the other way round: a store that locks in the order of the batch must not hang.
            let writer = |number: u64| {
                let name = format!("writer {number}");
                let mut batch: Vec<Change> =
                    ids.iter().map(|id| Change { expected: Some(0), ..named(id, 1, &name) }).collect();
                if number % 2 == 1 {
                    batch.reverse();
                }
                batch
            };
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            self.one_wins(&(0..WRITERS).map(writer).collect::<Vec<_>>(), &ids)?;
        }
        Ok(())
    }

    /// Lets the writers race and expects of each id that one of them won it, and that its record is stored.
    fn one_wins(&mut self, writers: &[Vec<Change>], ids: &[&str]) -> Result<(), Mismatch> {
        self.has_written = true;
        let answers = self.driver.race(writers);
        let answers = answers.map_err(|error| self.failed("a race", &error))?;
        self.counted("writers that are answered after a race", writers.len(), answers.len())?;
        for (changes, answers) in writers.iter().zip(&answers) {
            self.counted("answers to a racing write", changes.len(), answers.len())?;
        }
        let answered = writers.iter().flatten().zip(answers.iter().flatten());
        let winners: Vec<&Change> = answered.filter_map(|(change, won)| won.then_some(change)).collect();
        for &id in ids {
            let of_id: Vec<&Change> = winners.iter().copied().filter(|winner| winner.id == id).collect();
            self.counted(&format!("writers that win `{id}`"), 1, of_id.len())?;
            for winner in of_id {
                self.one_stored(winner)?;
            }
        }
        Ok(())
    }

    /// Inserts under an id that must be free.
    fn insert(&mut self, change: &Change) -> Result<(), Mismatch> {
        self.stored(&[(&change.id, None)])?;
        self.written(change, true)?;
        self.one_stored(change)
    }

    fn written(&mut self, change: &Change, expected: bool) -> Result<(), Mismatch> {
        self.batch_written(core::slice::from_ref(change), &[expected])
    }

    fn batch_written(&mut self, changes: &[Change], expected: &[bool]) -> Result<(), Mismatch> {
        self.has_written = true;
        let answers = self.driver.write(changes);
        let answers = answers.map_err(|error| {
            let first = changes.first().map_or("", |change| &change.id);
            self.failed(&format!("a write of {} changes, the first of `{first}`,", changes.len()), &error)
        })?;
        self.counted("answers to a write", changes.len(), answers.len())?;
        let word = |is_written: bool| if is_written { "written" } else { "not written" };
        let answered = changes.iter().zip(expected.iter().zip(&answers));
        match answered.into_iter().find(|(_, (expected, got))| expected != got) {
            None => Ok(()),
            Some((Change { id, expected: condition, revision, .. }, (&expected, &got))) => {
                let condition =
                    condition.map_or_else(|| "nothing".to_owned(), |revision| format!("revision {revision}"));
                let part = format!("the answer to writing revision {revision} of `{id}` where {condition} is expected");
                Err(self.differs(&part, word(expected), word(got)))
            }
        }
    }

    fn one_stored(&mut self, change: &Change) -> Result<(), Mismatch> {
        self.all_stored(core::slice::from_ref(change))
    }

    fn all_stored(&mut self, changes: &[Change]) -> Result<(), Mismatch> {
        let expected: Vec<_> = changes.iter().map(|change| (&*change.id, Some(&*change.record))).collect();
        self.stored(&expected)
    }

    fn stored(&mut self, expected: &[(&str, Option<&str>)]) -> Result<(), Mismatch> {
        let ids: Vec<&str> = expected.iter().map(|(id, _)| *id).collect();
        let got = self.driver.read(&ids);
        let got = got.map_err(|error| {
            let first = ids.first().copied().unwrap_or_default();
            self.failed(&format!("a read of {} ids, the first `{first}`,", ids.len()), &error)
        })?;
        self.counted("answers to a read", ids.len(), got.len())?;
        if !self.has_written
            && let Some((id, _)) = ids.iter().zip(&got).find(|(_, record)| record.is_some())
        {
            let difference = format!(
                "\n  the store was not empty at the start: something is stored under `{id}`, and this rule has written nothing \
                 yet. Check the rules on an empty store, each once."
            );
            return Err(Mismatch { rule: self.rule, difference });
        }
        let shown = |record: Option<&str>| record.map_or_else(|| "nothing".to_owned(), |text| visible(text.as_bytes()));
        match expected.iter().zip(&got).find(|((_, expected), got)| *expected != got.as_deref()) {
            None => Ok(()),
            Some(((id, expected), got)) => {
                let part = format!("what is stored under `{id}`");
                Err(self.differs(&part, &shown(*expected), &shown(got.as_deref())))
            }
        }
    }

    fn counted(&self, what: &str, expected: usize, got: usize) -> Result<(), Mismatch> {
        if expected == got {
            return Ok(());
        }
        Err(self.differs(&format!("the number of {what}"), &expected.to_string(), &got.to_string()))
    }

    fn differs(&self, part: &str, expected: &str, got: &str) -> Mismatch {
        let difference = format!("\n  {part}: expected {expected}\n  {part}:      got {got}");
        Mismatch { rule: self.rule, difference }
    }

    fn failed(&self, what: &str, error: &D::Error) -> Mismatch {
        Mismatch { rule: self.rule, difference: format!("\n  {what} failed: {error}") }
    }
}

/// A new session's record, told from others by its id.
fn plain(id: &str, revision: u64) -> Change {
    named(id, revision, id)
}

fn named(id: &str, revision: u64, name: &str) -> Change {
    change(id, &samples::session(name, revision))
}

fn change(id: &str, session: &AnySession) -> Change {
    let record = serde_json::to_string(session).unwrap_or_else(|error| error.to_string());
    Change { id: id.to_owned(), expected: None, revision: session.revision(), record }
}

/// The numbers from 0, each once, neither rising nor falling.
fn shuffled(count: usize) -> Vec<usize> {
    let (even, odd): (Vec<_>, Vec<_>) = (0..count).partition(|number| number % 2 == 0);
    odd.into_iter().rev().zip(even).flat_map(|(odd, even)| [odd, even]).collect()
}
