//! The kit for stores passes a good store, and finds each of the broken ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Barrier, Mutex};
use std::thread;

use midsession::testing::conformance::store::{Change, Driver, Mismatch, Rule};
use midsession::{AnySession, CommType, CrmSupport, EndUser, Endpoint, limits};
use strum::VariantArray;
use time::OffsetDateTime;

/// What a store gets wrong, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
enum Slip {
    // Ids.
    IdsInAnyCase,
    TrailingDotsTrimmed,
    IdsCutAt64,
    IdsCutAt191,
    PunctuationIgnored,
    UnderscoreMatchesAnything,
    NumericIdsAreNumbers,
    NullIsNoId,
    // Revisions.
    RevisionsAreSigned,
    RevisionsSaturateAtTheGreatestSigned,
    RevisionsAreFloats,
    RevisionsOf32Bits,
    // Records.
    TimesCutToMicroseconds,
    TextTrimmed,
    TextComposed,
    TextWithoutAstralCharacters,
    RecordsCutAt1200Characters,
    RecordsCutAt2000Bytes,
    KeysSorted,
    YearZeroUnknown,
    // Conditional writes.
    Unconditional,
    SaysYesWhenStale,
    SaysNoWhenWritten,
    AnyOlderRevisionWillDo,
    InsertOverwrites,
    InsertIsSilentlyIgnored,
    UpdateInserts,
    UpdatesEverySessionOfTheRevision,
    NewSessionsAreReadAfterOneWrite,
    ReadsAreCached,
    // Batches.
    AnswersSortedById,
    AnswersReversed,
    AbsentIdsLeftOutOfReads,
    ReadsSortedById,
    ReadsCutAt100,
    OneStaleChangeAbortsTheBatch,
    OneStaleChangeIsAnsweredForAll,
    NothingAfterAStaleChange,
    FailsOnAStaleChange,
    // Races.
    CheckedThenWritten,
    InsertCheckedThenWritten,
    EveryRacerLoses,
    RacersRecordsMixed,
}

/// Sessions in memory, with a slip or without.
struct Memory {
    slip: Option<Slip>,
    stored: Mutex<BTreeMap<String, (u64, String)>>,
    cache: BTreeMap<String, Option<String>>,
}

impl Memory {
    fn new(slip: Option<Slip>) -> Self {
        Self { slip, stored: Mutex::default(), cache: BTreeMap::new() }
    }

    fn has(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn key(&self, id: &str) -> String {
        let cut = |at: usize| id[..id.len().min(at)].to_owned();
        match self.slip {
            Some(Slip::IdsInAnyCase) => id.to_lowercase(),
            Some(Slip::TrailingDotsTrimmed) => id.trim_end_matches('.').to_owned(),
            Some(Slip::IdsCutAt64) => cut(64),
            Some(Slip::IdsCutAt191) => cut(191),
            Some(Slip::PunctuationIgnored) => id.replace(['-', '.', '_', '~'], ""),
            Some(Slip::NumericIdsAreNumbers) => id.parse::<f64>().map_or(id.to_owned(), |number| number.to_string()),
            _ => id.to_owned(),
        }
    }

    fn revision(&self, revision: u64) -> u64 {
        match self.slip {
            Some(Slip::RevisionsAreSigned) => u64::try_from(i64::try_from(revision).unwrap_or(-1)).unwrap_or(0),
            Some(Slip::RevisionsSaturateAtTheGreatestSigned) => revision.min(i64::MAX.unsigned_abs()),
            #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
            Some(Slip::RevisionsAreFloats) => revision as f64 as u64,
            Some(Slip::RevisionsOf32Bits) => revision & 0xffff_ffff,
            _ => revision,
        }
    }

    fn record(&self, record: &str) -> String {
        match self.slip {
            Some(Slip::TimesCutToMicroseconds) => ["001Z", "789Z", "999Z"]
                .iter()
                .fold(record.to_owned(), |record, nanoseconds| record.replace(nanoseconds, "Z")),
            Some(Slip::TextTrimmed) => record.replace(" \"", "\""),
            Some(Slip::TextComposed) => record.replace("e\u{301}", "é"),
            Some(Slip::TextWithoutAstralCharacters) => {
                record.chars().map(|character| if character > '\u{ffff}' { '?' } else { character }).collect()
            }
            Some(Slip::RecordsCutAt1200Characters) => record.chars().take(1200).collect(),
            Some(Slip::RecordsCutAt2000Bytes) => {
                String::from_utf8_lossy(&record.as_bytes()[..record.len().min(2000)]).into()
            }
            Some(Slip::KeysSorted) => serde_json::from_str::<serde_json::Value>(record).unwrap().to_string(),
            Some(Slip::YearZeroUnknown) => record.replace("\"0000-", "\"0001-"),
            _ => record.to_owned(),
        }
    }

    /// Whether the change may be written over what is stored.
    fn is_current(&self, stored: Option<u64>, change: &Change) -> bool {
        let expected = change.expected.map(|revision| self.revision(revision));
        match self.slip {
            Some(Slip::Unconditional) => true,
            Some(Slip::AnyOlderRevisionWillDo) => stored <= expected,
            Some(Slip::InsertOverwrites) if expected.is_none() => true,
            Some(Slip::UpdateInserts) if stored.is_none() => true,
            _ => stored == expected,
        }
    }

    fn write_one(&self, stored: &mut BTreeMap<String, (u64, String)>, change: &Change) -> bool {
        let key = self.key(&change.id);
        let before = stored.get(&key).map(|(revision, _)| *revision);
        let is_current = self.is_current(before, change);
        if is_current {
            self.put(stored, change);
        }
        if is_current && self.has(Slip::UpdatesEverySessionOfTheRevision) && change.expected.is_some() {
            for (revision, record) in stored.values_mut().filter(|(revision, _)| Some(*revision) == change.expected) {
                (*revision, *record) = (change.revision, change.record.clone());
            }
        }
        match self.slip {
            Some(Slip::SaysYesWhenStale) => true,
            Some(Slip::SaysNoWhenWritten) => is_current && change.expected.is_none(),
            Some(Slip::InsertIsSilentlyIgnored) => is_current || change.expected.is_none(),
            _ => is_current,
        }
    }

    fn put(&self, stored: &mut BTreeMap<String, (u64, String)>, change: &Change) {
        stored.insert(self.key(&change.id), (self.revision(change.revision), self.record(&change.record)));
    }

    fn write_all(&self, changes: &[Change]) -> Result<Vec<bool>, &'static str> {
        let mut stored = self.stored.lock().unwrap();
        let before = if self.has(Slip::OneStaleChangeAbortsTheBatch) { stored.clone() } else { BTreeMap::new() };
        let answers = changes.iter().map(|change| self.write_one(&mut stored, change));
        let mut answers: Vec<bool> = if self.has(Slip::NothingAfterAStaleChange) {
            let mut is_stale = false;
            let before_it =
                answers.take_while(|written| core::mem::replace(&mut is_stale, !written) == *written || *written);
            let done: Vec<bool> = before_it.collect();
            done.into_iter().chain(core::iter::repeat(false)).take(changes.len()).collect()
        } else {
            answers.collect()
        };
        let is_any_stale = answers.contains(&false);
        match self.slip {
            Some(Slip::OneStaleChangeAbortsTheBatch) if is_any_stale => {
                *stored = before;
                answers.fill(false);
            }
            Some(Slip::OneStaleChangeIsAnsweredForAll) if is_any_stale => answers.fill(false),
            Some(Slip::FailsOnAStaleChange) if is_any_stale => return Err("duplicate key"),
            Some(Slip::AnswersReversed) => answers.reverse(),
            Some(Slip::AnswersSortedById) => {
                let by_id: BTreeMap<&str, bool> =
                    changes.iter().map(|change| change.id.as_str()).zip(answers.iter().copied()).collect();
                answers = by_id.into_values().collect();
            }
            _ => {}
        }
        Ok(answers)
    }

    /// Every racer looks before any of them writes.
    fn check_then_write(&self, changes: &[Change], all_have_looked: &Barrier) -> Vec<bool> {
        let current: Vec<bool> = changes
            .iter()
            .map(|change| {
                let stored = self.stored.lock().unwrap().get(&change.id).map(|(revision, _)| *revision);
                self.is_current(stored, change)
            })
            .collect();
        all_have_looked.wait();
        let mut stored = self.stored.lock().unwrap();
        for (change, _) in changes.iter().zip(&current).filter(|(_, current)| **current) {
            self.put(&mut stored, change);
        }
        current
    }
}

impl Driver for Memory {
    type Error = &'static str;

    fn read(&mut self, ids: &[&str]) -> Result<Vec<Option<String>>, &'static str> {
        let stored = self.stored.lock().unwrap();
        let matches = |pattern: &str, key: &str| {
            pattern.len() == key.len() && pattern.bytes().zip(key.bytes()).all(|(at, byte)| at == b'_' || at == byte)
        };
        let find = |id: &str| match self.slip {
            Some(Slip::UnderscoreMatchesAnything) => {
                stored.iter().find(|(key, _)| matches(id, key)).map(|(_, row)| row)
            }
            Some(Slip::NullIsNoId) if id == "null" => None,
            _ => stored.get(&self.key(id)),
        };
        let mut records: Vec<Option<String>> = ids.iter().map(|id| Some(find(id)?.1.clone())).collect();
        match self.slip {
            Some(Slip::AbsentIdsLeftOutOfReads) => records.retain(Option::is_some),
            Some(Slip::ReadsCutAt100) => records.truncate(100),
            Some(Slip::ReadsSortedById) => {
                records = ids.iter().zip(records).collect::<BTreeMap<_, _>>().into_values().collect();
            }
            Some(Slip::NewSessionsAreReadAfterOneWrite) if stored.len() < 2 => records.fill(None),
            Some(Slip::ReadsAreCached) => {
                records = ids
                    .iter()
                    .zip(records)
                    .map(|(id, record)| match self.cache.get(*id) {
                        Some(cached @ Some(_)) => cached.clone(),
                        _ => record,
                    })
                    .collect();
                self.cache.extend(ids.iter().map(|id| (*id).to_owned()).zip(records.iter().cloned()));
            }
            _ => {}
        }
        Ok(records)
    }

    fn write(&mut self, changes: &[Change]) -> Result<Vec<bool>, &'static str> {
        self.write_all(changes)
    }

    fn race(&mut self, writers: &[Vec<Change>]) -> Result<Vec<Vec<bool>>, &'static str> {
        let store = &*self;
        let all_have_looked = &Barrier::new(writers.len());
        let write = |changes: &[Change]| {
            let is_insert = changes.iter().any(|change| change.expected.is_none());
            match store.slip {
                Some(Slip::CheckedThenWritten) => Ok(store.check_then_write(changes, all_have_looked)),
                Some(Slip::InsertCheckedThenWritten) if is_insert => {
                    Ok(store.check_then_write(changes, all_have_looked))
                }
                _ => store.write_all(changes),
            }
        };
        let mut answers = thread::scope(|scope| {
            let running: Vec<_> = writers.iter().map(|changes| scope.spawn(|| write(changes))).collect();
            running.into_iter().map(|writer| writer.join().unwrap()).collect::<Result<Vec<_>, _>>()
        })?;
        match self.slip {
            Some(Slip::EveryRacerLoses) => answers.iter_mut().for_each(|answers| answers.fill(false)),
            Some(Slip::RacersRecordsMixed) => answers.rotate_right(1),
            _ => {}
        }
        Ok(answers)
    }
}

fn broken_rules(slip: Option<Slip>) -> Vec<Mismatch> {
    // Each rule on a store of its own, so that what one leaves behind cannot stand for another's finding.
    Rule::ALL.iter().filter_map(|rule| rule.check(&mut Memory::new(slip)).err()).collect()
}

#[test]
fn a_good_store_passes() {
    let mut store = Memory::new(None);
    for rule in Rule::ALL {
        rule.check(&mut store).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    }
}

#[test]
fn every_broken_store_is_found_and_no_rule_is_idle() {
    let mut broken = BTreeSet::new();
    for slip in Slip::VARIANTS {
        let rules: BTreeSet<Rule> = broken_rules(Some(*slip)).iter().map(Mismatch::rule).collect();
        assert!(!rules.is_empty(), "{slip:?} goes unnoticed");
        broken.extend(rules);
    }
    let idle: Vec<_> = Rule::ALL.iter().filter(|rule| !broken.contains(rule)).collect();
    assert!(idle.is_empty(), "no broken store breaks {idle:?}");
}

/// Keeps what the kit does.
struct Recorder {
    store: Memory,
    /// How many of the ids of each read are stored, and how many are not.
    reads: Vec<(usize, usize)>,
    /// The batches, with their answers.
    batches: Vec<(Vec<Change>, Vec<bool>)>,
}

impl Recorder {
    /// After all rules.
    fn new() -> Self {
        let mut recorder = Self { store: Memory::new(None), reads: Vec::new(), batches: Vec::new() };
        for rule in Rule::ALL {
            rule.check(&mut recorder).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        }
        recorder
    }
}

impl Driver for Recorder {
    type Error = &'static str;

    fn read(&mut self, ids: &[&str]) -> Result<Vec<Option<String>>, &'static str> {
        assert!((1..=512).contains(&ids.len()), "{}", ids.len());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is asked for twice");
        let records = self.store.read(ids)?;
        let stored = records.iter().flatten().count();
        self.reads.push((stored, ids.len() - stored));
        Ok(records)
    }

    fn write(&mut self, changes: &[Change]) -> Result<Vec<bool>, &'static str> {
        assert!((1..=512).contains(&changes.len()), "{}", changes.len());
        let ids: BTreeSet<&str> = changes.iter().map(|change| change.id.as_str()).collect();
        assert_eq!(ids.len(), changes.len(), "an id is written twice");
        let answers = self.store.write(changes)?;
        self.batches.push((changes.to_vec(), answers.clone()));
        Ok(answers)
    }

    fn race(&mut self, writers: &[Vec<Change>]) -> Result<Vec<Vec<bool>>, &'static str> {
        let ends = |changes: &[Change]| [changes.first(), changes.last()].map(|change| change.unwrap().id.clone());
        if writers[0].len() > 1 {
            assert!(ends(&writers[0])[0].ends_with("-0"));
            for (number, changes) in writers.iter().enumerate() {
                let mut expected = ends(&writers[0]);
                expected.rotate_left(number % 2);
                assert_eq!(ends(changes), expected, "every other writer goes the other way round");
            }
        }
        writers.iter().map(|changes| self.write(changes)).collect()
    }
}

#[test]
fn batches_are_mixed() {
    let Recorder { reads, batches, .. } = Recorder::new();
    assert!(reads.iter().any(|&(stored, absent)| stored > 300 && absent > 100));
    let of_batch_rule =
        |changes: &[Change]| changes.len() > 1 && changes.iter().all(|change| change.id.starts_with("batch-"));
    let (changes, answers) = batches.iter().find(|(changes, _)| of_batch_rule(changes)).unwrap();
    let expecting = |revision| changes.iter().filter(|change| change.expected == revision).count();
    assert_eq!([None, Some(2), Some(3)].map(expecting), [16, 8, 16], "inserts, stale updates, other updates");
    assert_eq!(answers.iter().filter(|written| **written).count(), 16);
}

#[test]
fn what_the_kit_writes_is_legal_and_reaches_every_limit() {
    let changes: Vec<Change> = Recorder::new().batches.into_iter().flat_map(|(changes, _)| changes).collect();
    let mut sessions = Vec::new();
    for Change { id, revision, record, .. } in &changes {
        assert!(Endpoint::new(CommType::Chat, id).is_some(), "{id}");
        let session: AnySession = serde_json::from_str(record).unwrap();
        assert_eq!(session.revision(), *revision, "{id}");
        assert_eq!(serde_json::to_string(&session).unwrap(), *record, "{id}: not as the crate writes it");
        if let Some(end_user) = session.end_user() {
            let text = serde_json::to_string(end_user).unwrap();
            assert_eq!(serde_json::from_str::<EndUser>(&text).unwrap(), *end_user, "{id}");
        }
        sessions.push(session);
    }
    let end_users = || sessions.iter().filter_map(AnySession::end_user);
    let is_longest = |text: Option<&str>, max: usize, bytes: usize| {
        text.is_some_and(|text| text.chars().count() == max && text.len() == bytes)
    };
    assert!(end_users().any(|end_user| is_longest(Some(end_user.identifier()), 255, 1020)));
    assert!(end_users().any(|end_user| is_longest(end_user.name(), 255, 1020)));
    assert!(end_users().any(|end_user| is_longest(end_user.email(), 254, 254)));
    assert!(end_users().any(|end_user| is_longest(end_user.phone(), 64, 256)));
    assert!(sessions.iter().any(|session| {
        let is_linked = session.last_linked_at().is_some() && session.is_active();
        is_linked && session.end_user().is_some_and(|end_user| end_user.email().and(end_user.phone()).is_some())
    }));
    assert!(end_users().any(|end_user| (end_user.identifier(), end_user.name()) == ("007", Some("007"))));
    let has_all = |session: &&AnySession| session.end_user().is_some_and(|end_user| end_user.phone().is_some());
    assert!(sessions.iter().filter(has_all).any(|session| session.crm_support() == CrmSupport::Unsupported));
    let moments: BTreeSet<OffsetDateTime> =
        sessions.iter().flat_map(|session| [session.last_linked_at(), session.ended_at()]).flatten().collect();
    let years: BTreeSet<i32> = moments.iter().map(|at| at.year()).collect();
    assert!(years.is_superset(&[0, 9999].into()), "{years:?}");
    assert!(moments.iter().any(|at| at.nanosecond() % 1000 != 0));
    let revisions: BTreeSet<u64> = sessions.iter().map(AnySession::revision).collect();
    // What 32 bits, a float and a signed number take for another.
    let edges = [
        [0, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 53, (1 << 53) + 1],
        [(1 << 63) - 2, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 2, u64::MAX],
    ];
    assert!(revisions.is_superset(&edges.concat().into_iter().collect()), "{revisions:?}");
    let lengths: BTreeSet<usize> = changes.iter().map(|change| change.id.len()).collect();
    assert!(lengths.is_superset(&[1, limits::SESSION_ID_MAX_CHARS].into()), "{lengths:?}");
}

#[test]
fn a_mismatch_names_the_rule_and_shows_what_differed() {
    let mismatch = Rule::StaleRevision.check(&mut Memory::new(Some(Slip::Unconditional))).unwrap_err();
    assert_eq!(mismatch.rule(), Rule::StaleRevision);
    assert_eq!(
        mismatch.to_string(),
        "the store breaks the rule StaleRevision
  the rule: a change of a revision that is not the stored one writes nothing and says so
  the answer to writing revision 5 of `stale` where revision 4 is expected: expected not written
  the answer to writing revision 5 of `stale` where revision 4 is expected:      got written"
    );
    let mismatch = Rule::Batch.check(&mut Memory::new(Some(Slip::FailsOnAStaleChange))).unwrap_err();
    assert_eq!(
        mismatch.to_string().lines().last(),
        Some("  a write of 40 changes, the first of `batch-39`, failed: duplicate key")
    );
    let mismatch = Rule::UnknownId.check(&mut Memory::new(Some(Slip::AbsentIdsLeftOutOfReads))).unwrap_err();
    assert_eq!(mismatch.to_string().lines().last(), Some("  the number of answers to a read:      got 0"));
}

#[test]
fn a_store_that_is_not_empty_is_told_so() {
    let mut store = Memory::new(None);
    Rule::InsertTwice.check(&mut store).unwrap();
    let mismatch = Rule::InsertTwice.check(&mut store).unwrap_err().to_string();
    assert!(mismatch.contains("the store was not empty at the start: something is stored under `twice`"), "{mismatch}");
}
