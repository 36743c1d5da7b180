//! The whole life of three sessions, as the HTTP requests and answers of the published endpoint.
//!
//! The first two requests are the published samples, byte for byte. Each goes through [`Endpoint::parse`], the
//! deserialiser and [`apply_link`], as in a server; the map stands in for the database, `now` for the clock.

use std::collections::HashMap;
use std::error::Error;

use core::time::Duration;
use midsession::{
    Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, Endpoint, LinkRequest, Session, apply_link,
};
use time::OffsetDateTime;
use time::macros::datetime;

const CALL: &str = "/apps/api/v1/calls/7/end_user";
const CHAT: &str = "/apps/api/v1/chats/42/end_user";
const CHAT_AS_CALL: &str = "/apps/api/v1/calls/42/end_user";
const CHAT_WITHOUT_CRM: &str = "/apps/api/v1/chats/43/end_user";

const PUBLISHED: &str = r#"{"identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut desk = Desk {
        sessions: HashMap::from([
            ("7", Session::start(CommType::Call).into()),
            ("42", Session::start(CommType::Chat).into()),
            ("43", Session::start(CommType::Chat).with_crm_support(CrmSupport::Unsupported).into()),
        ]),
        policy: DuplicatePolicy::new(Duration::from_secs(30)),
        now: datetime!(2026-11-22 12:00:00 UTC),
    };

    println!("> what the server gets   < what it answers   = what it stores");
    scene("The published sample for a call, which was anonymous until now");
    desk.post(CALL, PUBLISHED)?;
    scene("The published sample for a chat");
    desk.post(CHAT, PUBLISHED)?;

    scene("Ten seconds later the chat is linked again: inside the interval of 30 s");
    desk.wait(10);
    desk.post(CHAT, PUBLISHED)?;
    scene("After the wait that was asked for");
    desk.wait(20);
    desk.post(CHAT, PUBLISHED)?;

    scene("The same person with another phone: what the request leaves out is kept");
    desk.wait(30);
    desk.post(CHAT, r#"{"identifier": "unique_external_id", "phone": "987-654-3210"}"#)?;
    scene("Another person: nothing of the former one is carried over");
    desk.wait(30);
    desk.post(CHAT, r#"{"identifier": "another_external_id", "name": "Jane Roe"}"#)?;

    scene("A chat whose CRM takes no such update");
    desk.post(CHAT_WITHOUT_CRM, PUBLISHED)?;
    scene("The chat's id under calls");
    desk.post(CHAT_AS_CALL, PUBLISHED)?;
    scene("No identifier");
    desk.post(CHAT, r#"{"name": "Jane Roe"}"#)?;

    scene("The chat and the call end, and are linked once more");
    desk.end("42");
    desk.end("7");
    desk.post(CHAT, PUBLISHED)?;
    desk.post(CALL, PUBLISHED)
}

/// A server without a network: a store, a policy and a clock.
struct Desk {
    sessions: HashMap<&'static str, AnySession>,
    policy: DuplicatePolicy,
    now: OffsetDateTime,
}

impl Desk {
    fn post(&mut self, path: &str, body: &str) -> Result<(), Box<dyn Error>> {
        let (hours, minutes, seconds) = self.now.to_hms();
        println!("  {hours:02}:{minutes:02}:{seconds:02} > POST {path}");
        println!("           > {body}");
        let endpoint = Endpoint::parse(path).ok_or("no such route")?;
        let request: LinkRequest = serde_json::from_str(body)?;
        let request = request.with_comm_type(endpoint.comm_type());

        let session = self.sessions.get(endpoint.session_id());
        let decision = apply_link(session, &request, &self.policy, self.now);

        let answer = Answer::from(&decision);
        println!("           < {} {}", answer.status, answer.body);
        if let Some(seconds) = answer.retry_after_secs() {
            println!("           < Retry-After: {seconds}");
        }
        if let (Ok(accepted), Some(stored)) = (decision, self.sessions.get_mut(endpoint.session_id())) {
            let change = accepted.change();
            *stored = accepted.into_session().into();
            println!("           = {change}; stored: {}", serde_json::to_string(stored)?);
        }
        Ok(())
    }

    fn end(&mut self, session_id: &'static str) {
        if let Some(session) = self.sessions.remove(session_id) {
            self.sessions.insert(session_id, session.end(self.now));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn scene(title: &str) {
    println!("\n{title}:");
}
