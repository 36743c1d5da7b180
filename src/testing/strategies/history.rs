use std::collections::{BTreeMap, BTreeSet};
use std::prelude::rust_2024::*;
use std::vec;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{acceptable_request, duplicate_policy, link_request, session_id, stored_moment};
use crate::testing::samples::{self, EARLIEST_STORED, LATEST};
use crate::{
    Accepted, Active, AnySession, CommType, CrmSupport, DuplicatePolicy, EndUser, EndUserField, Endpoint, LinkError,
    LinkRequest, Param, Session, apply_link,
};

/// What happened to a few sessions, in order, and what this crate decides at each step. See [`history`].
#[derive(Clone, Debug)]
pub struct History {
    /// The policy of all decisions.
    pub policy: DuplicatePolicy,
    /// The steps. Before the first of them nothing is stored.
    pub steps: Vec<Step>,
}

/// One step of a [`History`].
#[derive(Clone, Debug)]
pub struct Step {
    /// What the clock shows, in UTC. It may stand still, and it may go backwards.
    pub now: OffsetDateTime,
    /// The session's id, one that a path can hold.
    pub session_id: String,
    /// What happens.
    pub action: Action,
    /// What must be stored under the id after the step; `None` is nothing.
    pub stored: Option<AnySession>,
}

/// What happens in a [`Step`].
///
/// Exhaustive on purpose: a campaign that leaves out an action should not compile.
#[derive(Clone, Debug)]
pub enum Action {
    /// The session starts. Nothing is stored under its id before.
    Start(Session<Active>),
    /// It is asked to be linked.
    Link(Box<Attempt>),
    /// It is ended, for the first time or again. Where nothing is stored, nothing happens.
    End,
}

/// One request to link a session, and how it must be decided.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The path to post to.
    pub path: String,
    /// The body, JSON. It may have a `comm_type` of its own, which the path's overrides.
    pub body: String,
    /// The same as a request with the path's comm type, for transports without HTTP.
    pub request: LinkRequest<'static>,
    /// What [`apply_link`] decides. `Answer::from(&decision)` is its answer.
    pub decision: Result<Accepted, LinkError>,
}

/// Whole histories of one to three sessions: they start, are linked, refused and ended, at moments that are often at an
/// edge of the duplicate interval. Every row of the decision table that a well-formed path can reach comes up.
///
/// Each step says what must come of it, so that a server needs no model of its own to be tested: it replays the steps, and
/// compares. A history that fails shrinks to the few steps that matter. All sessions can be stored.
///
/// ```
/// use midsession::testing::strategies::{Action, History, history};
/// use midsession::{Answer, AnySession};
/// use proptest::prelude::*;
/// # use std::collections::BTreeMap;
/// # use midsession::{DuplicatePolicy, Endpoint, LinkRequest, apply_link};
/// # use time::OffsetDateTime;
/// # struct Server { policy: DuplicatePolicy, sessions: BTreeMap<String, AnySession> }
/// # impl Server {
/// #     fn new(policy: DuplicatePolicy) -> Self { Self { policy, sessions: BTreeMap::new() } }
/// #     fn start(&mut self, id: &str, session: AnySession) { self.sessions.insert(id.to_owned(), session); }
/// #     fn end(&mut self, id: &str, at: OffsetDateTime) {
/// #         if let Some(session) = self.sessions.remove(id) { self.start(id, session.end(at)); }
/// #     }
/// #     fn stored(&self, id: &str) -> Option<AnySession> { self.sessions.get(id).cloned() }
/// #     fn post(&mut self, path: &str, body: &str, now: OffsetDateTime) -> (u16, String) {
/// #         let endpoint = Endpoint::parse(path).unwrap();
/// #         let request: LinkRequest = serde_json::from_str(body).unwrap();
/// #         let request = request.with_comm_type(endpoint.comm_type());
/// #         let session = self.stored(endpoint.session_id());
/// #         let decision = apply_link(session.as_ref(), &request, &self.policy, now);
/// #         let answer = Answer::from(&decision);
/// #         if let Ok(linked) = decision { self.start(endpoint.session_id(), linked.into_session().into()); }
/// #         (answer.status, answer.body.to_owned())
/// #     }
/// # }
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(16))]
///     fn my_server_does_as_the_crate_does(History { policy, steps } in history()) {
///         let mut server = Server::new(policy); // yours, with an empty store
///         for step in steps {
///             match step.action {
///                 Action::Start(session) => server.start(&step.session_id, session.into()),
///                 Action::End => server.end(&step.session_id, step.now),
///                 Action::Link(attempt) => {
///                     let (status, body) = server.post(&attempt.path, &attempt.body, step.now);
///                     let answer = Answer::from(&attempt.decision);
///                     prop_assert_eq!((status, &*body), (answer.status, answer.body));
///                 }
///             }
///             prop_assert_eq!(server.stored(&step.session_id), step.stored);
///         }
///     }
/// }
/// # my_server_does_as_the_crate_does();
/// ```
pub fn history() -> impl Strategy<Value = History> {
    let sessions = proptest::collection::vec((session_id(), new_session(), proptest::bool::weighted(0.9)), 1..=3);
    (duplicate_policy(), sessions, stored_moment(), proptest::collection::vec(event(), 1..=24))
        .prop_map(|(policy, sessions, now, events)| {
            let mut telling = Telling { policy, now, sessions: BTreeMap::new(), steps: Vec::new() };
            let mut met = BTreeSet::new();
            let sessions: Vec<_> = sessions.into_iter().filter(|(id, ..)| met.insert(id.clone())).collect();
            for (id, session, _) in sessions.iter().filter(|(.., starts_at_once)| *starts_at_once) {
                telling.tell(id, Event { of: 0, clock: Clock::Still, what: What::Start(session.clone()) });
            }
            for event in events {
                if let Some((id, ..)) = sessions.iter().cycle().nth(event.of) {
                    telling.tell(id, event);
                }
            }
            History { policy: telling.policy, steps: telling.steps }
        })
        .boxed()
}

/// What is to happen next, whatever happened before: so it stays a history when others are taken away.
#[derive(Clone, Debug)]
struct Event {
    of: usize,
    clock: Clock,
    what: What,
}

#[derive(Clone, Debug)]
enum Clock {
    Still,
    By(i64),
    /// At one of the edges of the duplicate interval.
    Edge(usize),
    At(OffsetDateTime),
}

#[derive(Clone, Debug)]
enum What {
    Start(Session<Active>),
    Link { request: LinkRequest<'static>, other_comm_type: bool, not_text: Value },
    End,
}

fn event() -> impl Strategy<Value = Event> {
    let clock = prop_oneof![
        1 => Just(Clock::Still),
        3 => (-10_000_000_000..100_000_000_000_i64).prop_map(Clock::By),
        4 => (0..7_usize).prop_map(Clock::Edge),
        1 => stored_moment().prop_map(Clock::At),
    ];
    let request = prop_oneof![8 => familiar_request(), 1 => acceptable_request(), 2 => link_request()].boxed();
    let not_text = select(vec![json!(7), json!(true), json!(["a"]), json!({"a": 1})]);
    let link = (request, proptest::bool::weighted(0.1), not_text)
        .prop_map(|(request, other_comm_type, not_text)| What::Link { request, other_comm_type, not_text });
    let what = prop_oneof![12 => link, 1 => new_session().prop_map(What::Start), 1 => Just(What::End)];
    (0..3_usize, clock, what.boxed()).prop_map(|(of, clock, what)| Event { of, clock, what }).boxed()
}

/// A session as it starts.
fn new_session() -> impl Strategy<Value = Session<Active>> {
    let end_user = proptest::option::weighted(0.3, super::end_user());
    (any::<CommType>(), proptest::bool::weighted(0.9), end_user)
        .prop_map(|(comm_type, is_supported, end_user): (_, _, Option<EndUser>)| {
            let crm_support = if is_supported { CrmSupport::Supported } else { CrmSupport::Unsupported };
            Session { crm_support, end_user, ..Session::start(comm_type) }
        })
        .boxed()
}

/// Requests by two people, who come again: only these are refreshed, and are unchanged.
fn familiar_request() -> impl Strategy<Value = LinkRequest<'static>> {
    let optional = |texts: [&'static str; 2]| proptest::option::of(select(texts.to_vec()));
    let name = optional(["Jane Doe", "Jane Roe"]);
    let email = optional(["jane@example.com", "j.roe@example.com"]);
    let phone = optional(["123-456-7890", "٠٥٠"]);
    (select(vec!["id-1", "id-1", "id-2"]), name, email, phone).prop_map(|(identifier, name, email, phone)| {
        LinkRequest {
            comm_type: Param::Blank,
            identifier: identifier.into(),
            name: name.into(),
            email: email.into(),
            phone: phone.into(),
        }
    })
}

/// The history as far as it has been told.
struct Telling {
    policy: DuplicatePolicy,
    now: OffsetDateTime,
    sessions: BTreeMap<String, AnySession>,
    steps: Vec<Step>,
}

impl Telling {
    fn tell(&mut self, id: &str, event: Event) {
        let before = self.sessions.get(id).cloned();
        self.now = self.moment(&event.clock, before.as_ref());
        let (action, stored) = match event.what {
            What::Start(_) if before.is_some() => return,
            What::Start(session) => (Action::Start(session.clone()), Some(session.into())),
            What::End => (Action::End, before.map(|session| session.end(self.now))),
            What::Link { request, other_comm_type, not_text } => {
                let own = before.as_ref().map_or(CommType::Chat, AnySession::comm_type);
                let comm_type = if other_comm_type { other(own) } else { own };
                let body = body(&request, &not_text);
                let request = request.with_comm_type(comm_type);
                let decision = apply_link(before.as_ref(), &request, &self.policy, self.now);
                let path = Endpoint::new(comm_type, id).map_or_else(String::new, |endpoint| endpoint.to_string());
                let linked = decision.as_ref().ok().map(|accepted| accepted.session().clone().into());
                (Action::Link(Box::new(Attempt { path, body, request, decision })), linked.or(before))
            }
        };
        if let Some(stored) = &stored {
            self.sessions.insert(id.to_owned(), stored.clone());
        }
        self.steps.push(Step { now: self.now, session_id: id.to_owned(), action, stored });
    }

    fn moment(&self, clock: &Clock, session: Option<&AnySession>) -> OffsetDateTime {
        let now = match *clock {
            Clock::Still => self.now,
            Clock::By(nanoseconds) => samples::shifted(self.now, nanoseconds),
            Clock::At(moment) => moment,
            Clock::Edge(edge) => {
                let last = session.and_then(AnySession::last_linked_at).unwrap_or(self.now);
                samples::edges(last, self.policy.interval()).get(edge).copied().unwrap_or(last)
            }
        };
        now.clamp(EARLIEST_STORED, LATEST)
    }
}

const fn other(comm_type: CommType) -> CommType {
    match comm_type {
        CommType::Call => CommType::Chat,
        CommType::Chat => CommType::Call,
    }
}

/// The request as a client sends it.
fn body(request: &LinkRequest<'_>, not_text: &Value) -> String {
    let fields = EndUserField::ALL.iter().map(|field| (field.as_str(), request.param(*field)));
    let fields = fields.chain([("comm_type", &request.comm_type)]);
    let fields = fields.filter_map(|(name, param)| {
        let value = match param {
            Param::Blank => return None,
            Param::Text(text) => json!(text),
            Param::NotText => not_text.clone(),
        };
        Some((name.to_owned(), value))
    });
    Value::Object(fields.collect::<Map<_, _>>()).to_string()
}
