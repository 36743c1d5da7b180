use midsession::{
    AnySession, Answer, DuplicatePolicy, Endpoint, LinkError, LinkRequest, apply_link,
};
use time::OffsetDateTime;

/// Your database: one row for each session.
pub trait Store {
    fn read(&self, id: &str) -> Option<AnySession>;
    /// `UPDATE … WHERE id = $id AND revision = $revision`: true if a row has changed.
    fn write(&self, id: &str, revision: u64, next: &AnySession) -> bool;
}

/// Send `body` as `application/json`, and `retry_after_secs()` as `Retry-After`.
pub fn link_end_user(
    store: &impl Store,
    policy: &DuplicatePolicy,
    clock: impl Fn() -> OffsetDateTime,
    path: &str,
    body: &[u8],
) -> Answer {
    let Some(endpoint) = Endpoint::parse(path) else {
        return Answer::from(&LinkError::NotFound);
    };
    let Ok(request) = serde_json::from_slice::<LinkRequest>(body) else {
        let body = r#"{"message":"body is not valid JSON"}"#;
        return Answer { status: 400, body, retry_after: None };
    };
    let request = request.with_comm_type(endpoint.comm_type());
    loop {
        let session = store.read(endpoint.session_id());
        let decision = apply_link(session.as_ref(), &request, policy, clock());
        let answer = Answer::from(&decision);
        let (Some(read), Ok(accepted)) = (session, decision) else {
            return answer; // Refused: there is nothing to store.
        };
        let next = accepted.into_session().into();
        if store.write(endpoint.session_id(), read.revision(), &next) {
            return answer;
        }
        // Another server was first: decide again, on the session as it is now.
    }
}
