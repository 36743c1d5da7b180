//! The ids, revisions and records that the kit for stores writes.

// The core is `no_std`; what is for tests only need not be.
use std::prelude::rust_2024::*;
use std::vec;

use time::OffsetDateTime;

use crate::end_user::EndUserFields;
use crate::limits::{IDENTIFIER_MAX_CHARS, NAME_MAX_CHARS, PHONE_MAX_CHARS, SESSION_ID_MAX_CHARS};
use crate::session::Active;
use crate::stored::from_rfc3339;
use crate::{AnySession, CommType, CrmSupport, Session};

/// Ids that a store may take for each other, group by group.
pub(super) const LOOK_ALIKES: [&[&str]; 9] = [
    &["session", "Session", "SESSION", "sessioN"],
    &["dots", "dots.", "dots..", ".dots", "..dots", "d.ots"],
    // One look-alike character.
    &["l0ok", "lOok", "look", "1ook", "Iook"],
    // Collations ignore punctuation, and `_` matches any character of a LIKE pattern.
    &["a-b", "a_b", "a.b", "a~b", "ab", "a--b", "axb"],
    &["trailing", "trailing-", "trailing_", "trailing~", "-trailing", "_trailing", "~trailing"],
    // The same number.
    &["7", "07", "007", "7.0", "7.", ".7", "7e0", "0x7", "-7"],
    &["9007199254740993", "9007199254740992", "18446744073709551616", "1e999"],
    // Words that mean nothing, or are known to the language of the store.
    &["null", "NULL", "nil", "None", "undefined", "NaN", "true", "false", "__proto__", "constructor", "-"],
    &["prefix", "prefix-and-more", "prefi", "p"],
];

/// Ids of up to 255 characters, each of which is another one but for a character or for its length.
pub(super) fn long_ids() -> Vec<String> {
    let lengths =
        [SESSION_ID_MAX_CHARS, 254, 253, 250, 200, 192, 191, 190, 129, 128, 127, 101, 100, 65, 64, 63, 36, 32];
    let shorter = lengths.iter().map(|length| "i".repeat(*length));
    let changed_at = lengths.iter().map(|length| {
        let mut id = "i".repeat(SESSION_ID_MAX_CHARS);
        let at = length.saturating_sub(1);
        id.replace_range(at..*length, "j");
        id
    });
    shorter.chain(changed_at).collect()
}

/// Revisions that differ from each other, but not in every number type: those of 32 bits, signed ones and floats.
pub(super) const REVISIONS: [u64; 15] = [
    0,
    1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 1,
    1 << 53,
    (1 << 53) + 1,
    (1 << 63) - 2,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];

/// A new session, known to be this person's.
pub(super) fn session(name: &str, revision: u64) -> AnySession {
    linked(EndUserFields { identifier: "id-1", name, ..EndUserFields::default() }, None, revision).into()
}

fn linked(end_user: EndUserFields<'_>, last_linked_at: Option<OffsetDateTime>, revision: u64) -> Session<Active> {
    let session = Session::start(CommType::Chat).with_end_user(end_user.to_end_user());
    Session { last_linked_at, revision, ..session }
}

/// The stored forms that stores damage, each with a name that is also an id.
pub(super) fn stored_forms() -> Vec<(String, AnySession)> {
    let anonymous = AnySession::from(Session::start(CommType::Call));
    let unsupported = Session::start(CommType::Call).with_crm_support(CrmSupport::Unsupported).into();
    let mut forms = vec![
        ("anonymous".to_owned(), anonymous.clone()),
        ("crm-unsupported".to_owned(), unsupported),
        ("most-bytes".to_owned(), longest("🙂", "𝟗")),
        ("most-characters".to_owned(), longest("\\", "7")),
    ];
    for (name, text) in TEXTS {
        let end_user = EndUserFields { identifier: text, name: text, ..EndUserFields::default() };
        forms.push((["text-", name].concat(), linked(end_user, None, 0).into()));
    }
    for (at, time) in MOMENTS.iter().filter_map(|text| from_rfc3339(text)).enumerate() {
        let end_user = EndUserFields {
            identifier: "id-1",
            email: "jane@example.com",
            phone: "123-456-7890",
            ..EndUserFields::default()
        };
        let number = at.to_string();
        forms.push((["linked-at-", &number].concat(), linked(end_user, Some(time), 1).into()));
        forms.push((["linked-and-ended-at-", &number].concat(), linked(end_user, Some(time), 1).end(time).into()));
        forms.push((["ended-at-", &number].concat(), anonymous.clone().end(time)));
    }
    forms
}

/// A record in which every field has its greatest length, of this character and this digit: the longest in bytes, or, of
/// a character that JSON escapes, in characters.
fn longest(character: &str, digit: &str) -> AnySession {
    let domain = ["b".repeat(63), "c".repeat(63), "d".repeat(63), "e".repeat(60)].join(".");
    let end_user = EndUserFields {
        identifier: &character.repeat(IDENTIFIER_MAX_CHARS),
        name: &character.repeat(NAME_MAX_CHARS),
        email: &["a@", &domain].concat(),
        phone: &[digit, &character.repeat(PHONE_MAX_CHARS.saturating_sub(1))].concat(),
    };
    let session = linked(end_user, from_rfc3339(LATEST), u64::MAX);
    let session = Session { crm_support: CrmSupport::Unsupported, ..session };
    AnySession::from(session).end(from_rfc3339(LATEST).unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

const LATEST: &str = "9999-12-31T23:59:59.999999999Z";

const TEXTS: [(&str, &str); 25] = [
    ("spaces-around", "  two  spaces  "),
    ("no-break-spaces", "\u{a0}a\u{2003}b\u{3000}"),
    ("composed", "é Å ệ"),
    ("decomposed", "e\u{301} A\u{30a} e\u{323}\u{302}"),
    ("ligature", "ﬁ ½ ①"),
    ("dotless-i", "İ I ı i ß ẞ ss"),
    ("upper-case", "JANE DOE"),
    ("lower-case", "jane doe"),
    ("look-alike", "аdmin"),
    ("invisible", "\u{200b}a\u{200d}b\u{2060}\u{ad}"),
    ("byte-order-mark", "\u{feff}a\u{feff}"),
    ("right-to-left", "\u{202e}gnirts\u{202c} שלום سلام"),
    ("line-separators", "a\u{2028}b\u{2029}c"),
    ("replacement", "\u{fffd}\u{fffc}"),
    ("no-characters", "\u{fffe}\u{ffff}\u{10ffff}"),
    ("private-use", "\u{e000}\u{f8ff}\u{f0000}"),
    ("four-bytes", "🙂👩‍👩‍👧𐍈🇩🇪"),
    ("quotes", "'\"`´’''\"\""),
    ("backslashes", "\\ \\\\ \\n \\' \\u0000 \\x00 \\0"),
    ("sql", "'; DROP TABLE sessions; --"),
    ("placeholders", "? ?1 $1 $$ :name @name %s %d {} {0} #{x}"),
    ("markup", "<b>&amp;&lt;</b> </script><!-- ]]>"),
    ("json", "{\"revision\":7,\"state\":\"ended\"}"),
    ("number", "007"),
    ("null", "null"),
];

const MOMENTS: [&str; 13] = [
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:30:00+01:00",
    "0001-01-01T00:00:00.000000001Z",
    "1582-10-10T12:00:00Z",
    "1969-12-31T23:59:59.999999999Z",
    "1970-01-01T00:00:00Z",
    "2024-02-29T12:00:00.1Z",
    "2026-11-22T12:00:00.000000001Z",
    "2026-11-22T12:00:00.123456789Z",
    "2026-11-22T12:00:00.999999999Z",
    "2038-01-19T03:14:08Z",
    "9999-12-31T23:30:00-01:00",
    LATEST,
];
