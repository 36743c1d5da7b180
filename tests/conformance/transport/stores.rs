//! How a store takes one id, one identifier or one revision for another.

use midsession::AnySession;
use midsession::testing::conformance::Case;

use super::{Slip, Stored};

/// Puts in place what was decided.
pub fn put(case: &Case, session: Option<AnySession>, stored: &mut Stored, slip: Option<Slip>) {
    let id = case.session_id();
    let before = stored.remove(id);
    let is_changed = before != session;
    if let (Some(Slip::EverySessionOfTheRevisionChanged), true, Some(before), Some(session)) =
        (slip, is_changed, &before, &session)
    {
        stored
            .values_mut()
            .filter(|other| other.revision() == before.revision())
            .for_each(|other| *other = session.clone());
    }
    if let (Some(Slip::StoredUnderASecondId), true, Some(session)) = (slip, is_changed, &session) {
        stored.insert(format!("{id}-log"), session.clone());
    }
    stored.extend(session.map(|session| (id.to_owned(), session)));
}

/// Whether the store takes one identifier for the other.
pub fn merges(text: &str, linked: &str, slip: Slip) -> bool {
    match slip {
        Slip::CollatedIdentifiers => collated(text) == collated(linked),
        Slip::IdentifiersComparedAsNumbers => {
            let numbers = text.parse::<f64>().ok().zip(linked.parse::<f64>().ok());
            numbers.is_some_and(|(one, other)| one.to_bits() == other.to_bits())
        }
        Slip::IdentifiersComparedByTheirStart => {
            text.chars().take(191).eq(linked.chars().take(191)) && text.chars().count() > 191
        }
        Slip::IdentifiersMatchedByLike => text == "id-%" && linked.starts_with("id-"),
        _ => false,
    }
}

/// As some databases compare text.
fn collated(text: &str) -> String {
    text.trim_end_matches(' ').to_lowercase()
}

/// The revision that is stored over this one, if it is not the next.
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
pub fn misread_revision(before: u64, slip: Slip) -> Option<u64> {
    match slip {
        Slip::RevisionsOf32Bits => Some((before + 1) & 0xffff_ffff),
        Slip::RevisionsOf31Bits => Some((before + 1).min(0x7fff_ffff)),
        Slip::RevisionsAreFloats => Some((before as f64 + 1.0) as u64),
        _ => None,
    }
}
