//! Text for the generators of both features (`proptest`, `arbitrary`), built from raw characters: text that a field
//! accepts, and text that it only just refuses.
#![allow(clippy::arithmetic_side_effects, reason = "lengths of a few hundred characters")]

// The core is `no_std`; what is for tests only need not be.
use std::prelude::rust_2024::*;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::EndUserField;
use crate::param::is_blank;

/// Text of `length` characters that the field accepts. The length is at least 1 (3 for an address) and at most the
/// field's limit.
pub(crate) fn acceptable(field: EndUserField, length: usize, characters: &[char]) -> String {
    let least = if field == EndUserField::Email { 3 } else { 1 };
    let length = length.clamp(least, field.max_chars());
    let mut characters: Vec<char> = characters.iter().copied().filter(|character| !character.is_control()).collect();
    if characters.is_empty() {
        characters.push('x');
    }
    let mut raw = characters.iter().copied().cycle();
    match field {
        EndUserField::Email => address(length, raw),
        EndUserField::Phone => {
            // A numeric character of any script will do.
            let digit = if characters.iter().all(char::is_ascii) { '7' } else { '٧' };
            core::iter::once(digit).chain(raw).take(length).collect()
        }
        EndUserField::Identifier | EndUserField::Name => {
            let text: String = raw.by_ref().take(length).collect();
            if is_blank(&text) { core::iter::once('x').chain(text.chars().skip(1)).collect() } else { text }
        }
    }
}

/// An address of `length` characters. The labels of its domain have at most 32.
fn address(length: usize, raw: impl Iterator<Item = char>) -> String {
    let mut letters = raw.map(|character| char::from_digit(character as u32 % 36, 36).unwrap_or('x'));
    let user = (length / 3).clamp(1, 64);
    let domain = length - user - 1;
    let mut address: String = letters.by_ref().take(user).collect();
    address.push('@');
    address.extend(letters.zip(1..=domain).map(|(letter, at)| if at % 33 == 0 && at < domain { '.' } else { letter }));
    address
}

/// Two identifiers, or two texts of another field, that a careless comparison takes for one.
pub(crate) type Pair = (&'static str, &'static str);

/// Identifiers of two people that look like one.
pub(crate) const NEAR_IDENTIFIERS: [Pair; 27] = [
    // Other case: of ASCII, of other letters, and where the length changes.
    ("jane.doe", "Jane.Doe"),
    ("zoë", "zoË"),
    ("straße", "STRASSE"),
    // Composed and decomposed, full width, and other signs with the same meaning.
    ("zo\u{eb}", "zoe\u{308}"),
    ("id-1", "ｉｄ-１"),
    ("id-1", "id‑1"),
    // White space and invisible characters.
    ("id-1", " id-1"),
    ("id-1", "id-1 "),
    ("id-1", "id-1\u{3000}"),
    ("id 1", "id  1"),
    ("id 1", "id\u{a0}1"),
    ("id-1", "id-1\u{200b}"),
    // Numbers written in two ways, and numbers that a float takes for one.
    ("7", "07"),
    ("7", "+7"),
    ("7", "7.0"),
    ("1000", "1e3"),
    ("7", "٧"),
    ("7", "0x7"),
    ("9007199254740992", "9007199254740993"),
    // Look-alikes.
    ("admin", "\u{430}dmin"),
    ("l0", "lO"),
    ("Il", "ll"),
    // The same signs otherwise.
    ("123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
    ("a_b", "a.b"),
    ("id-1", "id-2"),
    ("id-1", "id-11"),
    ("ab", "ba"),
];

/// The lengths at which software cuts identifiers off. Two identifiers agree in so many characters, then they differ.
const CUTS: [usize; 8] = [8, 16, 32, 36, 64, 128, 254, 200];

/// The identifiers of two people that look like one: those of the table, then those of the cuts.
pub(crate) fn near_identifiers(which: usize) -> (String, String) {
    if let Some((one, other)) = NEAR_IDENTIFIERS.get(which) {
        return ((*one).to_owned(), (*other).to_owned());
    }
    let cut = which - NEAR_IDENTIFIERS.len();
    let same = "x".repeat(CUTS.get(cut / 2).copied().unwrap_or(254));
    if cut.is_multiple_of(2) { (same.clone() + "y", same + "z") } else { (same.clone(), same + "x") }
}

/// How many pairs [`near_identifiers`] has.
pub(crate) const NEAR_IDENTIFIER_COUNT: usize = NEAR_IDENTIFIERS.len() + 2 * CUTS.len();

/// Texts of an optional field that a careless comparison takes for one.
pub(crate) const fn near_texts(field: EndUserField) -> &'static [Pair] {
    match field {
        EndUserField::Identifier => &NEAR_IDENTIFIERS,
        EndUserField::Name => &[
            ("Jane Doe", "jane doe"),
            ("Zo\u{eb}", "Zoe\u{308}"),
            ("Jane Doe", " Jane Doe"),
            ("Jane Doe", "Jane Doe "),
            ("Jane Doe", "Jane Roe"),
        ],
        EndUserField::Email => &[
            ("jane@example.com", "Jane@example.com"),
            ("jane@example.com", "jane@EXAMPLE.com"),
            ("jane@example.com", "jane+a@example.com"),
            ("jane@example.com", "j.ane@example.com"),
        ],
        EndUserField::Phone => {
            &[("123-456-7890", "1234567890"), ("050", "٠٥٠"), ("050", "50"), ("+49 30 1", "0049 30 1"), ("050", " 050")]
        }
    }
}

/// What makes a text unacceptable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flaw {
    TooLong,
    Control(char),
    WrongKind,
}

/// Text that the field refuses for this flaw alone. Names and identifiers have no wrong kind, so theirs is a NUL.
pub(crate) fn unacceptable(field: EndUserField, flaw: Flaw, characters: &[char]) -> String {
    match (flaw, field) {
        (Flaw::TooLong, _) => acceptable(field, field.max_chars(), characters) + "x",
        (Flaw::Control(control), _) => acceptable(field, 9, characters) + &control.to_string(),
        (Flaw::WrongKind, EndUserField::Email) => acceptable(field, 9, characters).replace('@', "."),
        (Flaw::WrongKind, EndUserField::Phone) => "no digit".to_owned(),
        (Flaw::WrongKind, _) => acceptable(field, 9, characters) + "\0",
    }
}

/// Text that has broken other people's software.
pub(crate) const HOSTILE: [&str; 22] = [
    "",
    " ",
    "\t\r\n",
    "\u{a0}\u{2003}\u{85}",
    "\u{200b}",
    "\u{feff}",
    "\0",
    "\u{7f}",
    "\u{202e}gnirts",
    "e\u{301}",
    "é",
    "İ",
    "ß",
    "🙂👩‍👩‍👧",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "{\"identifier\":\"x\"}",
    "\\u0000",
    "%00",
    "../../etc",
    "null",
    "undefined",
];

/// The comm types that a request may name, right and wrong.
pub(crate) const COMM_TYPES: [&str; 9] =
    ["call", "chat", "email", "calls", "Chat", " call", "chat ", "ｃhat", "chat\0"];

pub(crate) const EARLIEST: OffsetDateTime = datetime!(-9999-01-01 00:00 UTC);
pub(crate) const LATEST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999_999_999 UTC);
/// The earliest moment that the stored form can write.
pub(crate) const EARLIEST_STORED: OffsetDateTime = datetime!(0000-01-01 00:00 UTC);

/// The moment `nanoseconds` after `at`, cut off at the earliest and the latest that there are.
pub(crate) const fn shifted(at: OffsetDateTime, nanoseconds: i64) -> OffsetDateTime {
    at.saturating_add(time::Duration::nanoseconds(nanoseconds))
}

/// The moments at which the answer changes after a link at `at`: each end of the interval, a nanosecond before it, and a
/// nanosecond after it. Each is cut off at the earliest and the latest moment that there are.
///
/// ```
/// use core::time::Duration;
/// use midsession::testing::edges;
/// use time::macros::datetime;
///
/// let edges = edges(datetime!(2026-11-22 12:00 UTC), Duration::from_secs(30));
/// assert!(edges.contains(&datetime!(2026-11-22 12:00:30 UTC)));
/// ```
pub fn edges(at: OffsetDateTime, interval: core::time::Duration) -> [OffsetDateTime; 7] {
    let interval = time::Duration::try_from(interval).unwrap_or(time::Duration::MAX);
    let (start, end) = (at.saturating_sub(interval), at.saturating_add(interval));
    [at, shifted(start, -1), start, shifted(start, 1), shifted(end, -1), end, shifted(end, 1)]
}
