use super::auth::Tokens;
use crate::batch::Sessions;

/// What the handlers work with.
pub struct App<S> {
    /// Decides, over a store.
    pub sessions: Sessions<S>,
    /// What requests must show one of.
    pub tokens: Tokens,
    /// Whether `/docs` and `/openapi.json` are open to who shows no token. Without it there is no `/docs`.
    pub public_docs: bool,
}
