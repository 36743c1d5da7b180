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
    let mut raw = characters.iter().copied().filter(|character| !character.is_control()).chain(core::iter::repeat('x'));
    match field {
        EndUserField::Email => address(length, raw),
        EndUserField::Phone => {
            // A digit of any script will do.
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
pub(crate) const COMM_TYPES: [&str; 7] = ["call", "chat", "email", "calls", "Chat", " call", "chat\0"];

pub(crate) const EARLIEST: OffsetDateTime = datetime!(-9999-01-01 00:00 UTC);
pub(crate) const LATEST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999_999_999 UTC);
/// The earliest moment that the stored form can write.
pub(crate) const EARLIEST_STORED: OffsetDateTime = datetime!(0000-01-01 00:00 UTC);

/// The moment `nanoseconds` after `at`, cut off at the earliest and the latest that there are.
pub(crate) const fn shifted(at: OffsetDateTime, nanoseconds: i64) -> OffsetDateTime {
    at.saturating_add(time::Duration::nanoseconds(nanoseconds))
}

/// The moments at which the answer changes after a link at `at`: each end of the interval, a nanosecond before it, and a
/// nanosecond after it.
#[cfg(feature = "proptest")]
pub(crate) fn edges(at: OffsetDateTime, interval: core::time::Duration) -> [OffsetDateTime; 7] {
    let interval = time::Duration::try_from(interval).unwrap_or(time::Duration::MAX);
    let (start, end) = (at.saturating_sub(interval), at.saturating_add(interval));
    [at, shifted(start, -1), start, shifted(start, 1), shifted(end, -1), end, shifted(end, 1)]
}
