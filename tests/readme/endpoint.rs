use midsession::{
    AnySession, Answer, DuplicatePolicy, Endpoint, LinkError, LinkRequest, apply_link,
};
use time::OffsetDateTime;

/// Your database: one row for each session. When it fails, send a 503 of your own.
pub trait Store {
    type Error;
    fn read(&self, id: &str) -> Result<Option<AnySession>, Self::Error>;
    /// `UPDATE … SET revision = $next_revision, record = $next
    /// WHERE id = $id AND revision = $expected`: true if a row has changed.
    fn write(&self, id: &str, expected: u64, next: &AnySession)
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
        return Ok(Answer::new(400, r#"{"message":"body is not valid JSON"}"#));
    };
    let request = request.with_endpoint(&endpoint);
    for _ in 0..16 {
        let session = store.read(endpoint.session_id())?;
        let accepted = match apply_link(session.as_ref(), &request, policy, clock()) {
            Ok(accepted) => accepted,
            Err(error) => return Ok(error.into()), // There is nothing to store.
        };
        let expected = accepted.expected_revision();
        let next = accepted.into_session().into();
        if store.write(endpoint.session_id(), expected, &next)? {
            return Ok(Answer::ACCEPTED);
        }
        // Another server was first: decide again, on the session as it is now.
    }
    Ok(Answer::new(503, r#"{"message":"try again"}"#))
}
