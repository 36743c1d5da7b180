//! A table of the classes of ASCII characters, so that text is validated in one pass over its bytes.

/// A letter or a digit.
pub(crate) const ALPHANUMERIC: u8 = 1;
/// `-`
pub(crate) const HYPHEN: u8 = 2;
/// `.`
pub(crate) const DOT: u8 = 4;
/// Allowed before the `@` of an e-mail address.
pub(crate) const USER: u8 = 8;
/// A control character, or a part of a character outside ASCII, which may be one.
pub(crate) const SUSPECT: u8 = 16;

/// The classes of a byte.
pub(crate) fn of(byte: u8) -> u8 {
    TABLE.get(usize::from(byte)).copied().unwrap_or(SUSPECT)
}

static TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let (mut byte, mut rest): (u8, &mut [u8]) = (0, &mut table);
    while let Some((entry, others)) = rest.split_first_mut() {
        *entry = class(byte);
        (byte, rest) = (byte.wrapping_add(1), others);
    }
    table
};

const fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => ALPHANUMERIC | USER,
        b'-' => HYPHEN | USER,
        b'.' => DOT | USER,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~' => USER,
        b' '..=b'~' => 0,
        _ => SUSPECT,
    }
}
