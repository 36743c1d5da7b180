//! Sequences of operations by two writers on one stored session, against the reference model.

use core::time::Duration;
use std::collections::BTreeMap;

use midsession::{
    Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, LinkRequest, Session, apply_link,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use time::OffsetDateTime;

use crate::model::{self, Row, Verdict};
use crate::support::{INTERVAL, NOW};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_stored_session_agrees_with_the_model_after_each_step(mut model in model(), operations in vec(operation(), 1..40)) {
        let mut store = Store::new(&model);
        for operation in operations {
            model.apply(&operation);
            store.apply(&model, operation);
            store.check(&model);
        }
    }
}

/// What a writer does to the row it has read.
#[derive(Clone, Debug)]
enum Change {
    Link(LinkRequest<'static>),
    End,
}

#[derive(Clone, Debug)]
enum Operation {
    /// By so many halves of the interval, and so many nanoseconds, forwards or backwards.
    Clock(i32, i64),
    /// The store is restarted: everything goes through JSON.
    Restart,
    /// A writer reads the row.
    Read(usize),
    /// A writer decides on what it has read, and writes it back if its revision still stands.
    Write(usize, Change),
}

/// The model's side: plain rows, and a record of what was stored.
#[derive(Clone, Debug)]
struct Model {
    policy: DuplicatePolicy,
    now: OffsetDateTime,
    row: Row,
    read: [Row; 2],
    /// What the last operation came to.
    outcome: Outcome,
    /// The moments of the accepted links that were stored, and the revision that each change won.
    links: Vec<OffsetDateTime>,
    won: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Refused(u16, String, Option<u128>),
    Stored,
    Lost,
}

fn model() -> impl Strategy<Value = Model> {
    let scope = select(vec![DuplicateScope::Session, DuplicateScope::SameIdentifier]);
    let interval = select(vec![Duration::ZERO, Duration::from_nanos(2), INTERVAL]);
    (scope, interval, any::<CommType>(), prop::bool::weighted(0.9)).prop_map(|(scope, interval, comm_type, crm)| {
        let row = Row {
            comm_type: comm_type.to_string(),
            crm,
            person: BTreeMap::new(),
            last_linked_at: None,
            ended_at: None,
            revision: 0,
        };
        Model {
            policy: DuplicatePolicy::new(interval).with_scope(scope),
            now: NOW,
            read: [row.clone(), row.clone()],
            row,
            outcome: Outcome::Nothing,
            links: Vec::new(),
            won: Vec::new(),
        }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let edges = vec![(-2, 0), (0, -1), (0, 1), (1, 0), (2, -1), (2, 0), (2, 1)];
    prop_oneof![
        4 => select(edges).prop_map(|(halves, nanoseconds)| Operation::Clock(halves, nanoseconds)),
        1 => Just(Operation::Restart),
        4 => (0..2_usize).prop_map(Operation::Read),
        6 => (0..2_usize, request()).prop_map(|(writer, request)| Operation::Write(writer, Change::Link(request))),
        1 => (0..2_usize).prop_map(|writer| Operation::Write(writer, Change::End)),
    ]
}

impl Model {
    fn apply(&mut self, operation: &Operation) {
        self.outcome = Outcome::Nothing;
        match operation {
            Operation::Clock(halves, nanoseconds) => {
                let interval = time::Duration::try_from(self.policy.interval()).unwrap();
                self.now += interval / 2 * *halves + time::Duration::nanoseconds(*nanoseconds);
            }
            Operation::Restart => {}
            Operation::Read(writer) => self.read[*writer] = self.row.clone(),
            Operation::Write(writer, change) => self.write(*writer, change),
        }
    }

    fn write(&mut self, writer: usize, change: &Change) {
        let read = self.read[writer].clone();
        let next = match change {
            Change::End => {
                let mut ended = read.clone();
                ended.end(self.now);
                ended
            }
            Change::Link(request) => match model::decide(Some(&read), request, &self.policy, self.now) {
                Verdict { linked: Some((linked, _)), .. } => linked,
                refused => {
                    self.outcome = Outcome::Refused(refused.status, refused.message, refused.wait);
                    return;
                }
            },
        };
        if self.row.revision != read.revision {
            self.outcome = Outcome::Lost;
            return;
        }
        self.outcome = Outcome::Stored;
        if next != self.row {
            self.won.push(read.revision);
        }
        if let Change::Link(_) = change {
            self.links.push(self.now);
        }
        self.row = next;
    }
}

/// Requests by four people, of whom two at a time are easily taken for one. Every field names its person, so that a field
/// carried over to another would show.
fn request() -> impl Strategy<Value = LinkRequest<'static>> {
    let comm_type =
        prop_oneof![8 => any::<CommType>().prop_map(|comm_type| comm_type.to_string()), 1 => Just("email".to_owned())];
    let turn = || prop::option::of(0..2_u8);
    (comm_type, select(vec!["a", "A", "7", "07"]), turn(), turn(), turn(), prop::bool::weighted(0.05)).prop_map(
        |(comm_type, person, name, email, phone, spoilt)| LinkRequest {
            comm_type: comm_type.into(),
            identifier: person.into(),
            name: name.map(|turn| format!("Person {person} {turn}")).into(),
            email: email.map(|turn| format!("person-{person}@{turn}.example")).into(),
            phone: if spoilt { "none".into() } else { phone.map(|turn| format!("{person}-{turn}")).into() },
        },
    )
}

/// The crate's side: a store of one row, written only where the revision still stands, and what two writers have read.
struct Store {
    row: AnySession,
    read: [AnySession; 2],
}

impl Store {
    fn new(model: &Model) -> Self {
        let crm_support = if model.row.crm { CrmSupport::Supported } else { CrmSupport::Unsupported };
        let row = AnySession::from(Session::start(model.row.comm_type.parse().unwrap()).with_crm_support(crm_support));
        Self { read: [row.clone(), row.clone()], row }
    }

    fn apply(&mut self, expected: &Model, operation: Operation) {
        let before = self.row.clone();
        let outcome = match operation {
            Operation::Clock(..) => Outcome::Nothing,
            Operation::Restart => {
                let reread = |session: &AnySession| {
                    serde_json::from_str::<AnySession>(&serde_json::to_string(session).unwrap()).unwrap()
                };
                *self = Self { row: reread(&self.row), read: self.read.each_ref().map(reread) };
                Outcome::Nothing
            }
            Operation::Read(writer) => {
                self.read[writer] = self.row.clone();
                Outcome::Nothing
            }
            Operation::Write(writer, change) => self.write(writer, change, expected),
        };
        assert_eq!(outcome, expected.outcome);
        if outcome != Outcome::Stored {
            assert_eq!(self.row, before, "what was not stored changed nothing");
        }
        if !before.is_active() {
            assert_eq!(self.row, before, "an ended session never changes");
        }
    }

    fn check(&self, expected: &Model) {
        assert_eq!(Row::of(&self.row), expected.row);
        assert_eq!(self.read.each_ref().map(Row::of), expected.read);
        let wins: Vec<u64> = (0..expected.row.revision).collect();
        assert_eq!(expected.won, wins, "exactly one writer wins each revision, and no accepted link is lost");
        if let Some(end_user) = self.row.end_user() {
            let person = end_user.identifier();
            let own =
                |text: Option<&str>, start: &str| text.is_none_or(|text| text.starts_with(&format!("{start}{person}")));
            assert!(own(end_user.name(), "Person ") && own(end_user.email(), "person-") && own(end_user.phone(), ""));
        }
        if expected.policy.scope() == DuplicateScope::Session {
            let apart = expected.links.windows(2).map(|pair| (pair[1] - pair[0]).unsigned_abs());
            assert!(
                apart.into_iter().all(|apart| apart >= expected.policy.interval()),
                "no order of requests beats the interval"
            );
        }
    }

    fn write(&mut self, writer: usize, change: Change, expected: &Model) -> Outcome {
        let read = self.read[writer].clone();
        let next = match change {
            Change::End => read.clone().end(expected.now),
            Change::Link(request) => match apply_link(Some(&read), &request, &expected.policy, expected.now) {
                Ok(accepted) => accepted.into_session().into(),
                Err(error) => {
                    let answer = Answer::from(&error);
                    return Outcome::Refused(
                        answer.status,
                        error.to_string(),
                        answer.retry_after.map(|wait| wait.as_nanos()),
                    );
                }
            },
        };
        if self.row.revision() != read.revision() {
            return Outcome::Lost;
        }
        self.row = next;
        Outcome::Stored
    }
}
