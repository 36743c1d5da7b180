//! The maximum lengths of text, in characters (Unicode scalar values), not in bytes.
//!
//! They are *ours*: the published contract names no limits. Longer text is refused and never cut.
//!
//! ```
//! use midsession::{EndUser, limits};
//!
//! assert!(EndUser::new("é".repeat(limits::IDENTIFIER_MAX_CHARS)).is_ok());
//! assert!(EndUser::new("é".repeat(limits::IDENTIFIER_MAX_CHARS + 1)).is_err());
//! ```

/// The maximum length of an identifier, in characters.
pub const IDENTIFIER_MAX_CHARS: usize = 255;

/// The maximum length of a name, in characters.
pub const NAME_MAX_CHARS: usize = 255;

/// The maximum length of an e-mail address, in characters: RFC 5321's 256 octets of a path, less its two brackets.
pub const EMAIL_MAX_CHARS: usize = 254;

/// The maximum length of a phone number, in characters.
pub const PHONE_MAX_CHARS: usize = 64;

/// The maximum length of a session id in an endpoint's path, in characters, which are all ASCII.
pub const SESSION_ID_MAX_CHARS: usize = 255;
