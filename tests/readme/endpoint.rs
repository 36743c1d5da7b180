use midsession::{
    AnySession, Answer, DuplicatePolicy, Endpoint, LinkError, LinkRequest, apply_link,
};
use time::OffsetDateTime;

/// Your database: one row for each session. When it fails, send a 503 of your own.
pub trait Store {
    type Error;
    fn read(&self, id: &str) -> Result<Option<AnySession>, Self::Error>;
    /// `UPDATE … SET revision = $next_revision, record = $next
    /// WHERE id = $id AND revision = $revision`: true if a row has changed.
    fn write(&self, id: &str, revision: u64, next: &AnySession)
    -> Result<bool, Self::Error>;
}

/// Send the answer's `body` as `application/json`, and `retry_after_secs()` as the
/// header `Retry-After`.
pub fn link_end_user<S: Store>(
    store: &S,
    policy: &DuplicatePolicy,
    clock: impl Fn() -> OffsetDateTime,
    path: &str,
    body: &[u8],
) -> Result<Answer, S::Error> {
    let Some(endpoint) = Endpoint::parse(path) else {
        return Ok(Answer::from(&LinkError::NotFound));
    };
    let Ok(request) = serde_json::from_slice::<LinkRequest>(body) else {
        return Ok(own(400, r#"{"message":"body is not valid JSON"}"#));
    };
    let request = request.with_comm_type(endpoint.comm_type());
    for _ in 0..16 {
        let session = store.read(endpoint.session_id())?;
        let decision = apply_link(session.as_ref(), &request, policy, clock());
        let answer = Answer::from(&decision);
        let (Some(read), Ok(accepted)) = (session, decision) else {
            return Ok(answer); // Refused: there is nothing to store.
        };
        let next = accepted.into_session().into();
        if store.write(endpoint.session_id(), read.revision(), &next)? {
            return Ok(answer);
        }
        // Another server was first: decide again, on the session as it is now.
    }
    Ok(own(503, r#"{"message":"try again"}"#))
}

/// An answer that is not the contract's.
const fn own(status: u16, body: &'static str) -> Answer {
    Answer { status, body, retry_after: None }
}
