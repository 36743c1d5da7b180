//! Who may ask: the tokens that requests must show one of.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::batch::Caller;

/// The shortest token that is taken, in characters. Shorter ones are guessed.
pub const TOKEN_MIN_CHARS: usize = 16;
/// The longest name of a client, in characters.
pub const CLIENT_MAX_CHARS: usize = 32;

/// A bearer token, and the name of the client that it was given to, if it has one. Only the token's digest is kept: digests
/// are all of one length, and are compared in constant time.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
    client: Option<Arc<str>>,
}

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
        Ok(Self { digest: Sha256::digest(token).into(), client: None })
    }

    /// The token of a client, which logs and metrics call so: up to [`CLIENT_MAX_CHARS`] of `a` to `z`, `0` to `9`, `_` and `-`.
    ///
    /// # Errors
    /// - Those of [`Token::new`].
    /// - The name is of another form.
    pub fn named(client: &str, token: &str) -> Result<Self, TokenError> {
        let is_word = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if !(1..=CLIENT_MAX_CHARS).contains(&client.len()) || !client.bytes().all(is_word) {
            return Err(TokenError::Name);
        }
        Ok(Self { client: Some(client.into()), ..Self::new(token)? })
    }

    /// As it is written in a configuration: `token`, or `client:token`. What stands before the first colon is a name.
    ///
    /// ```
    /// use midsession_server::{Token, TokenError};
    ///
    /// assert!(Token::parse("crm-sync:0d1f9c4be77a4f0c").is_ok());
    /// assert_eq!(Token::parse("CRM:0d1f9c4be77a4f0c").unwrap_err(), TokenError::Name);
    /// ```
    ///
    /// # Errors
    /// As [`Token::new`] and [`Token::named`] have them.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        match text.split_once(':') {
            Some((client, token)) => Self::named(client, token),
            None => Self::new(text),
        }
    }

    /// Why the two cannot be valid together: it would not be known who asks.
    pub(super) fn clash(&self, other: &Self) -> Option<TokenError> {
        match (self.digest == other.digest, self.client == other.client) {
            (true, false) => Some(TokenError::Twice),
            (false, true) if self.client.is_some() => Some(TokenError::NameTwice),
            _ => None,
        }
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
    /// Its client's name could not be a label.
    #[error(
        "the name before a token's first colon must be 1 to {CLIENT_MAX_CHARS} characters of a to z, 0 to 9, _ and -"
    )]
    Name,
    /// Two tokens have it: it would not say which was shown.
    #[error("another token has the same name")]
    NameTwice,
    /// One token has two names.
    #[error("the same token is given under another name")]
    Twice,
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
        let place = (0_u64..).zip(&*tokens).fold(u64::MAX, |known, (place, token)| {
            u64::conditional_select(&known, &place, token.digest.ct_eq(&shown))
        });
        let known = tokens.get(usize::try_from(place).ok()?).filter(|_| scheme.eq_ignore_ascii_case("Bearer"))?;
        let caller = Caller::new(shown);
        Some(match &known.client {
            Some(client) => caller.with_client(client.clone()),
            None => caller,
        })
    }
}

impl From<Token> for Tokens {
    fn from(token: Token) -> Self {
        Self::new([token])
    }
}
