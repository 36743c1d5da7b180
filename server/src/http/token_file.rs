//! A file of tokens. It may be on a mount that hangs, or a pipe that no one writes to: nothing else waits for it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::auth::{Token, TokenError};
use crate::detach::blocking;

/// The largest token file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// How long reading it may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How many times it is read at once. One that hangs keeps a thread.
const READERS: usize = 4;

/// A file with one bearer token a line, as [`Token::parse`] reads it. Empty lines are skipped, and so is white space around a
/// token. A file that other users may read is used all the same, with a warning in the log.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    beside: Option<Token>,
    readers: Arc<Semaphore>,
}

impl TokenFile {
    /// The file at `path`. It is not read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), beside: None, readers: Arc::new(Semaphore::new(READERS)) }
    }

    /// This token is valid beside those of the file.
    #[must_use]
    pub fn beside(self, token: Option<Token>) -> Self {
        Self { beside: token, ..self }
    }

    /// Reads it, for at most 10 s, on a thread of its own: nothing else waits for it. The tokens are all that are valid.
    ///
    /// # Errors
    /// - The file cannot be read, or is over 64 KiB.
    /// - A line is no token, or its name is wrong, or that of another token.
    /// - There is no token in it.
    /// - It was not read in time, or four earlier calls still wait for it.
    pub async fn read(&self) -> Result<Vec<Token>, TokenFileError> {
        let reader = self.readers.clone().try_acquire_owned().map_err(|_| TokenFileError::Late)?;
        let (path, beside) = (self.path.clone(), self.beside.clone());
        let read = blocking(TIME_LIMIT, move || {
            let _reader = reader;
            read(&path, beside)
        });
        read.await.unwrap_or(Err(TokenFileError::Late))
    }
}

fn read(path: &Path, beside: Option<Token>) -> Result<Vec<Token>, TokenFileError> {
    let mut file = File::open(path).map_err(|error| TokenFileError::Unreadable(error.kind()))?;
    let mut text = String::new();
    let read = file.by_ref().take(MAX_BYTES + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| TokenFileError::Unreadable(error.kind()))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(TokenFileError::TooLarge);
    }
    let given = beside.iter().count();
    let mut tokens = Vec::from_iter(beside);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let token =
            Token::parse(line.trim()).and_then(|token| match tokens.iter().find_map(|other| token.clash(other)) {
                Some(clash) => Err(clash),
                None => Ok(token),
            });
        tokens.push(token.map_err(|error| TokenFileError::Line(index + 1, error))?);
    }
    if tokens.len() == given {
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
    /// It blocks, as a pipe does that no one writes to.
    #[error("the token file was not read in time: is it on a mount that hangs, or a pipe?")]
    Late,
}
