//! What holds for all bytes: the bodies of the fuzz targets, which the ordinary tests run on the committed corpora.

use core::time::Duration;

use arbitrary::Unstructured;
use midsession::{AnySession, CommType, DuplicatePolicy, EndUser, Endpoint, LinkRequest, Param, Session};
use serde_json::Value as Json;
use time::OffsetDateTime;

use crate::model::{self, Row, assert_agreed};

/// A body reads as its `serde_json::Value` does, and is decided as the model does.
pub fn request(bytes: &[u8]) {
    let request = serde_json::from_slice::<LinkRequest>(bytes);
    match (&request, serde_json::from_slice::<Json>(bytes)) {
        (Ok(request), Ok(value)) => assert_eq!(*request, model::read_body(&value)),
        (Err(error), Ok(_)) => assert!(error.to_string().starts_with("duplicate field `"), "{error}"),
        (Ok(_), Err(error)) => assert_skipped(bytes, &error),
        (Err(_), Err(_)) => {}
    }
    let Ok(request) = request else { return };
    for request in [request.clone(), request.clone().with_comm_type(CommType::Chat)] {
        let own = request.identifier.as_text().and_then(|identifier| EndUser::new(identifier).ok());
        for session in sessions(own) {
            for now in [OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + INTERVAL] {
                let _agreed = assert_agreed(session.as_ref(), &request, &DuplicatePolicy::new(INTERVAL), now);
            }
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(30);

/// What `serde_json` skips without a look, in the value of an unknown field or inside an array: text that is no UTF-8 or
/// no Unicode, numbers too great, any depth.
fn assert_skipped(bytes: &[u8], error: &serde_json::Error) {
    let text = error.to_string();
    let skipped = ["recursion limit", "number out of range", "surrogate", "unicode code point", "hex escape"];
    assert!(std::str::from_utf8(bytes).is_err() || skipped.iter().any(|skipped| text.contains(skipped)), "{text}");
}

fn sessions(own: Option<EndUser>) -> Vec<Option<AnySession>> {
    let policy = DuplicatePolicy::new(Duration::ZERO);
    let new = Session::start(CommType::Chat);
    let mut sessions = vec![None, Some(new.clone().into()), Some(new.clone().end(OffsetDateTime::UNIX_EPOCH).into())];
    if let Some(own) = own {
        let linked = new.link(&own, &policy, OffsetDateTime::UNIX_EPOCH).unwrap();
        sessions.push(Some(linked.into_session().into()));
    }
    sessions
}

/// Any sequence of operations leaves the session as the model has it.
pub fn sequence(bytes: &[u8]) {
    let _bytes_used_up = run(&mut Unstructured::new(bytes));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut session: AnySession = u.arbitrary()?;
    let mut row = Row::of(&session);
    let policy: DuplicatePolicy = u.arbitrary()?;
    let mut now = midsession::testing::arbitrary_moment(u)?;
    while !u.is_empty() {
        match u.int_in_range(0..=9)? {
            0 => {
                session = session.end(now);
                row.end(now);
            }
            1 => now = midsession::testing::arbitrary_moment(u)?,
            2 => session = reread(&session).unwrap_or(session),
            3 | 4 => {
                let interval = time::Duration::try_from(policy.interval()).unwrap_or(time::Duration::MAX);
                let last = session.last_linked_at().unwrap_or(now);
                let edge = if u.arbitrary()? { last.saturating_add(interval) } else { last.saturating_sub(interval) };
                now = edge.saturating_add(time::Duration::nanoseconds(u.int_in_range(-1..=1)?));
            }
            _ => {
                let mut request: LinkRequest<'_> = u.arbitrary()?;
                if u.arbitrary()? {
                    request.comm_type = session.comm_type().into();
                }
                if u.arbitrary()? {
                    request.identifier =
                        session.end_user().map_or(Param::Blank, |own| own.identifier().to_owned().into());
                }
                let (decision, verdict) = assert_agreed(Some(&session), &request, &policy, now);
                if let (Ok(accepted), Some((linked, _))) = (decision, verdict.linked) {
                    session = accepted.into_session().into();
                    row = linked;
                }
            }
        }
        assert_eq!(Row::of(&session), row);
    }
    Ok(())
}

/// The session after a trip through the store; `None` if it has a time that RFC 3339 cannot write.
fn reread(session: &AnySession) -> Option<AnySession> {
    let stored = serde_json::to_string(session).ok()?;
    let reread = serde_json::from_str(&stored).unwrap();
    assert_eq!(*session, reread);
    Some(reread)
}

/// A record is read exactly if it breaks no rule and names no field twice, and what was read is written and read back.
pub fn snapshot(bytes: &[u8]) {
    let session = serde_json::from_slice::<AnySession>(bytes);
    match (&session, serde_json::from_slice::<Json>(bytes)) {
        (session, Ok(value)) => {
            // The value has each field once, the last of each name.
            let once = serde_json::from_str::<AnySession>(&value.to_string());
            assert_eq!(once.is_ok(), model::is_session(&value), "{once:?}");
            if let Ok(session) = session {
                assert_eq!(*session, once.unwrap());
            }
        }
        (Ok(_), Err(error)) => assert_skipped(bytes, &error),
        (Err(_), Err(_)) => {}
    }
    if let Ok(session) = session {
        let stored = serde_json::to_string(&session).unwrap();
        let reread: AnySession = serde_json::from_str(&stored).unwrap();
        assert_eq!(reread, session);
        assert_eq!(serde_json::to_string(&reread).unwrap(), stored);
    }
}

/// A path is parsed as one that is split, and what was parsed is printed and parsed back the same.
pub fn endpoint(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let endpoint = Endpoint::parse(path);
    let split = model::read_path(path);
    assert_eq!(endpoint.map(|endpoint| endpoint.session_id()), split.map(|(_, session_id)| session_id));
    if let (Some(endpoint), Some((segment, session_id))) = (endpoint, split) {
        let expected = match segment {
            "calls" => Param::Text("call".into()),
            "chats" => Param::Text("chat".into()),
            "" => Param::Blank,
            _ => Param::NotText,
        };
        assert_eq!(endpoint.comm_type(), expected);
        let printed = endpoint.to_string();
        assert_eq!(printed, format!("/apps/api/v1/{segment}/{session_id}/end_user"));
        assert_eq!(Endpoint::parse(&printed), Some(endpoint));
        for comm_type in [CommType::Call, CommType::Chat] {
            let built = Endpoint::new(comm_type, session_id).unwrap();
            assert_eq!(Endpoint::parse(&built.to_string()), Some(built));
        }
    }
}
