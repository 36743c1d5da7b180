//! The piece in front of the stores, on a store in memory and on tokio's paused clock.

mod batches;
mod failures;
mod fates;
mod isolation;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use midsession::{
    AnySession, CommType, DuplicatePolicy, LinkChange, LinkError, LinkErrorKind, LinkRequest, Param, Session,
};
use midsession_server::{Clock, Command, Limits, Outcome, Sessions, Store, SubmitError};
use time::OffsetDateTime;

use crate::memory::Memory;

pub const SECOND: Duration = Duration::from_secs(1);

pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

/// On a store that has the chats `chat`, `first`, and `0` to `29`.
pub fn new(limits: Limits) -> (Memory, Sessions<Memory>) {
    with_clock(Arc::new(now), limits)
}

pub fn with_clock(clock: Clock, limits: Limits) -> (Memory, Sessions<Memory>) {
    let store = Memory::default();
    for id in (0..30).map(|number| number.to_string()).chain(["chat", "first"].map(str::to_owned)) {
        store.put(&id, chat());
    }
    let policy = DuplicatePolicy::new(Duration::from_secs(30));
    (store.clone(), Sessions::start(store, policy, clock, limits))
}

pub fn chat() -> AnySession {
    Session::start(CommType::Chat).into()
}

pub fn linked(identifier: &str) -> AnySession {
    linked_at(identifier, now())
}

pub fn linked_at(identifier: &str, at: OffsetDateTime) -> AnySession {
    let end_user = midsession::EndUser::new(identifier).unwrap();
    let policy = DuplicatePolicy::new(Duration::ZERO);
    Session::start(CommType::Chat).link(&end_user, &policy, at).unwrap().into_session().into()
}

pub fn link(identifier: &str) -> Command {
    let identifier = Param::from(identifier.to_owned());
    Command::Link(LinkRequest { identifier, ..LinkRequest::default() }.with_comm_type("chat"))
}

pub fn spawn<S: Store>(
    sessions: &Sessions<S>,
    id: &str,
    command: Command,
) -> tokio::task::JoinHandle<Result<Outcome, SubmitError>> {
    let (sessions, id) = (sessions.clone(), id.to_owned());
    tokio::spawn(async move { sessions.submit(&id, command).await })
}

/// Lets everything run that can run without time passing.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[track_caller]
pub fn change(answer: Result<Outcome, SubmitError>) -> Result<LinkChange, LinkErrorKind> {
    match answer {
        Ok(Outcome::Link(_, decision)) => decision.map_err(|error: LinkError| error.kind()),
        other => panic!("{other:?}"),
    }
}

pub fn person(session: &AnySession) -> &str {
    session.end_user().expect("it is linked").identifier()
}
