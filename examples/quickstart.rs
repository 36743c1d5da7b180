//! Three sessions from start to end, as HTTP requests and answers of the published endpoint.
//!
//! The first two requests are the published examples, byte for byte. Each request goes through [`Endpoint::parse`], the
//! deserialiser and [`apply_link`], as in a server. A map takes the place of the database, and `now` that of the clock.

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
    let mut server = Server {
        sessions: HashMap::from([
            ("7", Session::start(CommType::Call).into()),
            ("42", Session::start(CommType::Chat).into()),
            ("43", Session::start(CommType::Chat).with_crm_support(CrmSupport::Unsupported).into()),
        ]),
        policy: DuplicatePolicy::new(Duration::from_secs(30)),
        now: datetime!(2026-11-22 12:00:00 UTC),
    };

    println!("> what the server receives   < what it answers   = what it stores");
    scene("The published example for a call, which was anonymous until now");
    server.post(CALL, PUBLISHED)?;
    scene("The published example for a chat");
    server.post(CHAT, PUBLISHED)?;

    scene("Ten seconds later the chat is linked again: inside the interval of 30 s");
    server.wait(10);
    server.post(CHAT, PUBLISHED)?;
    scene("After the time that the answer asked to wait");
    server.wait(20);
    server.post(CHAT, PUBLISHED)?;

    scene("The same person with another phone: fields that the request leaves out are kept");
    server.wait(30);
    server.post(CHAT, r#"{"identifier": "unique_external_id", "phone": "987-654-3210"}"#)?;
    scene("Another person: nothing of the former one is kept");
    server.wait(30);
    server.post(CHAT, r#"{"identifier": "another_external_id", "name": "Jane Roe"}"#)?;

    scene("A chat whose CRM does not support end-user updates");
    server.post(CHAT_WITHOUT_CRM, PUBLISHED)?;
    scene("The chat's id under calls");
    server.post(CHAT_AS_CALL, PUBLISHED)?;
    scene("No identifier");
    server.post(CHAT, r#"{"name": "Jane Roe"}"#)?;

    scene("The chat and the call have ended");
    server.end("42");
    server.end("7");
    server.post(CHAT, PUBLISHED)?;
    server.post(CALL, PUBLISHED)
}

/// A server without a network: a store, a policy and a clock.
struct Server {
    sessions: HashMap<&'static str, AnySession>,
    policy: DuplicatePolicy,
    now: OffsetDateTime,
}

impl Server {
    fn post(&mut self, path: &str, body: &str) -> Result<(), Box<dyn Error>> {
        let (hours, minutes, seconds) = self.now.to_hms();
        println!("  {hours:02}:{minutes:02}:{seconds:02} > POST {path}");
        println!("           > {body}");
        let endpoint = Endpoint::parse(path).ok_or("no such route")?;
        let request: LinkRequest = serde_json::from_str(body)?;
        let request = request.with_endpoint(&endpoint);

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
