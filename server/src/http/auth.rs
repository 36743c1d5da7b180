//! Who may ask: the tokens that requests must show one of.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The shortest token that is taken, in characters. Shorter ones are guessed.
pub const TOKEN_MIN_CHARS: usize = 16;
/// The largest token file that is read.
const FILE_MAX_BYTES: u64 = 64 * 1024;

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

    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, token)) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        let shown: [u8; 32] = Sha256::digest(token.trim_start_matches(' ')).into();
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // All of them: how long it takes does not tell which it was.
        let known = tokens.iter().fold(Choice::from(0), |known, token| known | token.0.ct_eq(&shown));
        scheme.eq_ignore_ascii_case("Bearer") && known.into()
    }
}

impl From<Token> for Tokens {
    fn from(token: Token) -> Self {
        Self::new([token])
    }
}

/// Reads a file with one token a line. Empty lines are skipped, and so is white space around a token. A file that other
/// users may read is used all the same, with a warning in the log.
///
/// # Errors
/// - The file cannot be read, or is over 64 KiB.
/// - A line is no token.
/// - There is no token in it.
pub fn read_token_file(path: &Path) -> Result<Vec<Token>, TokenFileError> {
    let mut file = File::open(path).map_err(|error| TokenFileError::Unreadable(error.kind()))?;
    let mut text = String::new();
    let read = file.by_ref().take(FILE_MAX_BYTES + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| TokenFileError::Unreadable(error.kind()))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > FILE_MAX_BYTES) {
        return Err(TokenFileError::TooLarge);
    }
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        tokens.push(Token::new(line.trim()).map_err(|error| TokenFileError::Line(index + 1, error))?);
    }
    if tokens.is_empty() {
        return Err(TokenFileError::Empty);
    }
    if is_open_to_others(&file) {
        tracing::warn!("the token file is open to other users of this machine: chmod 600 it");
    }
    Ok(tokens)
}

#[cfg(unix)]
fn is_open_to_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &File) -> bool {
    false
}

/// Why a token file cannot be used. None of its text is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("the token file cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// It is over 64 KiB.
    #[error("the token file is over 64 KiB")]
    TooLarge,
    /// This line of it is no token.
    #[error("line {0} of the token file: {1}")]
    Line(usize, TokenError),
    /// It has no token.
    #[error("the token file has no token")]
    Empty,
}
