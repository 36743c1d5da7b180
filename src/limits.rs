//! How long an end user's fields may be, counted in characters (Unicode scalar values), not in bytes.
//!
//! *Ours*: the published contract names no limits. Text that is longer is refused, never cut.

/// The longest identifier, in characters.
pub const IDENTIFIER_MAX_CHARS: usize = 255;

/// The longest name, in characters.
pub const NAME_MAX_CHARS: usize = 255;

/// The longest e-mail address, in characters: what RFC 5321 leaves of a path's 256 octets.
pub const EMAIL_MAX_CHARS: usize = 254;

/// The longest phone number, in characters.
pub const PHONE_MAX_CHARS: usize = 64;

/// The longest session id in an endpoint's path, in characters, all of them ASCII.
pub const SESSION_ID_MAX_CHARS: usize = 255;
