//! Where each request of a connection ends, by its bytes. hyper knows it, and tells nobody; and it takes some that another
//! reader ends elsewhere.

use std::mem::take;

use crate::http::Ambiguity;

/// What is kept of a line. A longer one with a length in it is none that hyper, or anyone, reads.
const LINE_MAX_BYTES: usize = 256;

/// Follows a client's bytes from request to request.
#[derive(Default)]
pub(super) struct Framing {
    part: Part,
    /// The line that is under way, as far as it is kept.
    line: Vec<u8>,
    /// The byte before, of the same line or not.
    last: u8,
    head: Head,
    /// Whether a head has ended, and its answer is not sent yet.
    asked: bool,
    /// Whether more was wanted meanwhile.
    waits: bool,
}

/// Which part of a request comes next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    RequestLine,
    Fields,
    /// So many bytes.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// No one can say where the request ends, so nothing more is one.
    Over,
}

/// What a head says.
#[derive(Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    ambiguity: Option<Ambiguity>,
}

impl Framing {
    /// How many of the bytes that come next belong to the request that is under way: the first of them begins the next request
    /// if the last one has ended.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.part != Part::Over {
            let ended;
            (ended, rest) = match self.part {
                Part::Body(left) => self.counted(rest, left, Part::Body, Part::RequestLine),
                Part::Chunk(left) => self.counted(rest, left, Part::Chunk, Part::ChunkEnd),
                _ => self.lined(rest),
            };
            if ended {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    /// Whether the next byte begins a request whose turn it is not: the one before it is not answered.
    pub(super) fn must_wait(&mut self) -> bool {
        let waits = self.asked && self.part == Part::RequestLine && self.line.is_empty();
        self.waits |= waits;
        waits
    }

    /// The answer is sent. Whether something has waited for it.
    pub(super) fn answered(&mut self) -> bool {
        self.asked = false;
        take(&mut self.waits)
    }

    /// Why nothing more is to be read.
    pub(super) fn over(&self) -> Option<Ambiguity> {
        (self.part == Part::Over).then_some(self.head.ambiguity.unwrap_or(Ambiguity::Chunks))
    }

    /// Bytes whose number is known. Whether the request ends with them, and what stands behind them.
    fn counted<'a>(&mut self, bytes: &'a [u8], left: u64, part: fn(u64) -> Part, next: Part) -> (bool, &'a [u8]) {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - length as u64;
        self.part = if left == 0 { next } else { part(left) };
        (self.part == Part::RequestLine, bytes.get(length..).unwrap_or_default())
    }

    /// Bytes of a line. The same.
    fn lined<'a>(&mut self, bytes: &'a [u8]) -> (bool, &'a [u8]) {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at_checked(end.map_or(bytes.len(), |end| end + 1)).unwrap_or((bytes, &[]));
        if self.part == Part::RequestLine && line.contains(&b'#') {
            self.head.ambiguity = Some(Ambiguity::Fragment);
        }
        let before = match line {
            [.., before, _] => *before,
            _ => self.last,
        };
        self.last = line.last().copied().unwrap_or_default();
        let kept = line.get(..LINE_MAX_BYTES.saturating_sub(self.line.len())).unwrap_or(line);
        self.line.extend_from_slice(kept);
        if end.is_none() {
            return (false, rest);
        }
        let mut line = take(&mut self.line);
        let whole = line.strip_suffix(b"\n").is_some();
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let ended = self.line_ended(text, whole, before == b'\r');
        line.clear();
        self.line = line;
        (ended, rest)
    }

    /// Whether the request ends with this line, of which `text` is all, or as much as is kept.
    fn line_ended(&mut self, text: &[u8], whole: bool, has_return: bool) -> bool {
        if !has_return {
            self.head.ambiguity.get_or_insert(Ambiguity::LineFeed);
        }
        self.part = match self.part {
            // Empty lines before a request are nothing.
            Part::RequestLine if text.is_empty() => Part::RequestLine,
            Part::RequestLine => Part::Fields,
            Part::Fields if text.is_empty() => return self.head_ended(),
            Part::Fields => {
                self.head.field(text, whole);
                Part::Fields
            }
            Part::ChunkSize if has_return && whole => match chunk_size(text) {
                Some(0) => Part::Trailers,
                Some(size) => Part::Chunk(size),
                None => Part::Over,
            },
            Part::ChunkEnd if has_return && text.is_empty() => Part::ChunkSize,
            Part::Trailers if has_return && text.is_empty() => {
                self.part = Part::RequestLine;
                return true;
            }
            Part::Trailers if has_return => Part::Trailers,
            // No chunks: hyper, which is given no more of them, says so.
            _ => Part::Over,
        };
        false
    }

    /// Whether the request has no body.
    fn head_ended(&mut self) -> bool {
        self.asked = true;
        self.part = match self.head {
            Head { ambiguity: Some(_), .. } => Part::Over,
            Head { chunked: true, .. } => Part::ChunkSize,
            Head { length: None | Some(0), .. } => Part::RequestLine,
            Head { length: Some(length), .. } => Part::Body(length),
        };
        if self.part != Part::Over {
            self.head = Head::default();
        }
        self.part == Part::RequestLine
    }
}

impl Head {
    fn field(&mut self, text: &[u8], whole: bool) {
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
        let Some((name, value)) = text.split_at_checked(colon) else { return };
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = digits(value).filter(|_| whole && self.length.is_none() && !self.chunked);
            if length.is_none() {
                self.ambiguity = Some(Ambiguity::TwoLengths);
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                self.ambiguity = Some(Ambiguity::TwoLengths);
            } else if self.chunked || !whole || !value.eq_ignore_ascii_case(b"chunked") {
                self.ambiguity.get_or_insert(Ambiguity::Coding);
            }
            self.chunked = true;
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// What a chunk's first line says. Behind a semicolon it may have more.
fn chunk_size(text: &[u8]) -> Option<u64> {
    let size = text.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let is_clear = !text.contains(&b'\r') && size.iter().all(u8::is_ascii_hexdigit);
    let size = str::from_utf8(size).ok().filter(|_| is_clear)?;
    u64::from_str_radix(size, 16).ok()
}
