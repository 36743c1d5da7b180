//! Who may ask: the tokens that requests must show one of.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::batch::Caller;

/// The shortest token that is taken, in characters. Shorter ones are guessed.
pub const TOKEN_MIN_CHARS: usize = 16;

/// A bearer token. Only its digest is kept: digests are all of one length, and are compared in constant time.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A token is visible ASCII characters without spaces, since no client could send another.
    ///
    /// ```
    /// use midsession_server::{Token, TokenError};
    ///
    /// assert!(Token::new("0d1f9c4be77a4f0c").is_ok());
    /// assert_eq!(Token::new("short").unwrap_err(), TokenError::TooShort);
    /// ```
    ///
    /// # Errors
    /// - It has fewer than [`TOKEN_MIN_CHARS`] characters.
    /// - It has a character that is no visible ASCII.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotSendable);
        }
        if token.len() < TOKEN_MIN_CHARS {
            return Err(TokenError::TooShort);
        }
        Ok(Self(Sha256::digest(token).into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(<redacted>)")
    }
}

/// Why a text is no token. The text is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It would be guessed.
    #[error("a token must have at least {TOKEN_MIN_CHARS} characters")]
    TooShort,
    /// No client could send it.
    #[error("a token must be visible ASCII characters, without spaces")]
    NotSendable,
}

/// The tokens that are valid now. A clone is another handle of the same.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<RwLock<Vec<Token>>>);

impl Tokens {
    /// All of `tokens` are valid. With none, no request gets in.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self(Arc::new(RwLock::new(tokens.into_iter().collect())))
    }

    /// From now on `tokens` are valid, and no others.
    pub fn replace(&self, tokens: impl IntoIterator<Item = Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens.into_iter().collect();
    }

    /// Who asks, if it shows one of them.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Option<Caller> {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let shown: [u8; 32] = Sha256::digest(token.trim_start_matches(' ')).into();
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // All of them: how long it takes does not tell which it was.
        let known = tokens.iter().fold(Choice::from(0), |known, token| known | token.0.ct_eq(&shown));
        (scheme.eq_ignore_ascii_case("Bearer") && known.into()).then(|| Caller::new(shown))
    }
}

impl From<Token> for Tokens {
    fn from(token: Token) -> Self {
        Self::new([token])
    }
}
