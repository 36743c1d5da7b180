use alloc::boxed::Box;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::param::is_blank;
use crate::string_enum::string_enum;
use crate::{LinkError, LinkRequest, RequiredParam, email, limits};

/// The verified person that a session is linked to. An `EndUser` is always valid.
///
/// Text is kept byte for byte: it is not trimmed, case-folded or normalised. Two end users are the same person if their
/// identifiers have the same bytes. `Debug` shows which fields are set, but not their text.
///
/// ```
/// use midsession::{EndUser, EndUserError, EndUserField};
///
/// let end_user = EndUser::new("unique_external_id")?
///     .with_name("John Doe")?
///     .with_phone("123-456-7890")?;
/// assert_eq!(end_user.name(), Some("John Doe"));
/// assert_eq!(end_user.email(), None);
///
/// let error = end_user.with_email("not an address").unwrap_err();
/// assert_eq!(error, EndUserError::Invalid(EndUserField::Email));
/// # Ok::<(), EndUserError>(())
/// ```
///
/// With serde, an end user is an object of the fields that are set. Deserialising checks every field:
///
/// ```
/// # use midsession::EndUser;
/// let text = r#"{"identifier":"id-1","phone":"123"}"#;
/// let end_user: EndUser = serde_json::from_str(text)?;
/// assert_eq!(end_user.phone(), Some("123"));
///
/// let forged = r#"{"identifier":"id-1","phone":123}"#;
/// let error = serde_json::from_str::<EndUser>(forged).unwrap_err();
/// assert!(error.to_string().starts_with("`phone` is invalid"));
/// # Ok::<(), serde_json::Error>(())
/// ```
// One buffer, so one allocation: the text of all fields in a row, and the ends of the first three. A field that is set
// is never empty, so an empty one is absent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndUser {
    text: Box<str>,
    ends: [u16; 3],
}

impl EndUser {
    /// An end user with an identifier, the person's unique external id, and no other field.
    ///
    /// ```
    /// use midsession::{EndUser, EndUserError};
    ///
    /// assert_eq!(EndUser::new("id-1")?.identifier(), "id-1");
    /// assert_eq!(EndUser::new(" "), Err(EndUserError::Missing));
    /// # Ok::<(), EndUserError>(())
    /// ```
    ///
    /// # Errors
    /// - [`EndUserError::Missing`]: `identifier` is blank.
    /// - [`EndUserError::Invalid`]: it has a control character, or more than
    ///   [`IDENTIFIER_MAX_CHARS`](limits::IDENTIFIER_MAX_CHARS) characters.
    pub fn new(identifier: impl AsRef<str>) -> Result<Self, EndUserError> {
        let identifier = EndUserField::Identifier.check(identifier.as_ref(), Rules::Current)?;
        Ok(EndUserFields { identifier, ..EndUserFields::default() }.to_end_user())
    }

    /// The same end user with this name. A blank name removes it.
    ///
    /// # Errors
    /// - [`EndUserError::Invalid`]: it has a control character, or more than [`NAME_MAX_CHARS`](limits::NAME_MAX_CHARS)
    ///   characters.
    pub fn with_name(self, name: impl AsRef<str>) -> Result<Self, EndUserError> {
        let name = EndUserField::Name.check(name.as_ref(), Rules::Current)?;
        Ok(EndUserFields { name, ..self.fields() }.to_end_user())
    }

    /// The same end user with this e-mail address. A blank address removes it.
    ///
    /// # Errors
    /// - [`EndUserError::Invalid`]: it is not an e-mail address (see below), has a control character, or more than
    ///   [`EMAIL_MAX_CHARS`](limits::EMAIL_MAX_CHARS) characters.
    ///
    /// # Which addresses are valid
    /// This rule is *ours*. It is the one of HTML's `<input type=email>`, with two other kinds of domains added: a user
    /// part, `@`, and a domain, where
    /// - the user part is 1 to 64 ASCII letters, digits and ``.!#$%&'*+/=?^_`{|}~-``;
    /// - the domain is one of these:
    ///   - a host name of at most 255 bytes: labels, separated by dots, of 1 to 63 ASCII letters, digits and hyphens, with no
    ///     hyphen at either end;
    ///   - an address literal, which is `[`, an IPv4 or IPv6 address, `]`, and nothing else: no tag `IPv6:`, no zone and no
    ///     leading zeros;
    ///   - an international domain, whose form in ASCII (IDNA, UTS 46) is such a host name.
    ///
    /// There are no quoted user parts, comments or white space. `validator` has the same rule, except that it looks for a
    /// literal only at the end of the domain.
    ///
    /// ```
    /// use midsession::EndUser;
    ///
    /// let end_user = EndUser::new("id-1")?;
    /// for valid in ["jane@example.com", "jane@[192.0.2.1]", "jane@münchen.example"] {
    ///     assert!(end_user.clone().with_email(valid).is_ok());
    /// }
    /// for invalid in ["jane", "\"jane\"@example.com", "jane@example.com [192.0.2.1]"] {
    ///     assert!(end_user.clone().with_email(invalid).is_err());
    /// }
    /// # Ok::<(), midsession::EndUserError>(())
    /// ```
    pub fn with_email(self, email: impl AsRef<str>) -> Result<Self, EndUserError> {
        let email = EndUserField::Email.check(email.as_ref(), Rules::Current)?;
        Ok(EndUserFields { email, ..self.fields() }.to_end_user())
    }

    /// The same end user with this phone number. A blank number removes it.
    ///
    /// # Errors
    /// - [`EndUserError::Invalid`]: it has no numeric character of any script (`char::is_numeric`: `7`, `٧` and `½` are
    ///   some), has a control character, or more than
    ///   [`PHONE_MAX_CHARS`](limits::PHONE_MAX_CHARS) characters.
    pub fn with_phone(self, phone: impl AsRef<str>) -> Result<Self, EndUserError> {
        let phone = EndUserField::Phone.check(phone.as_ref(), Rules::Current)?;
        Ok(EndUserFields { phone, ..self.fields() }.to_end_user())
    }

    /// The unique external id.
    pub fn identifier(&self) -> &str {
        let [end, ..] = self.ends;
        self.text.get(..usize::from(end)).unwrap_or_default()
    }

    /// The name, if it is set.
    pub fn name(&self) -> Option<&str> {
        present(self.fields().name)
    }

    /// The e-mail address, if it is set.
    pub fn email(&self) -> Option<&str> {
        present(self.fields().email)
    }

    /// The phone number, if it is set.
    pub fn phone(&self) -> Option<&str> {
        present(self.fields().phone)
    }

    pub(crate) fn fields(&self) -> EndUserFields<'_> {
        let [identifier, name, email] = self.ends.map(usize::from);
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        EndUserFields {
            identifier: part(0, identifier),
            name: part(identifier, name),
            email: part(name, email),
            phone: part(email, self.text.len()),
        }
    }
}

/// The valid fields of an [`EndUser`]. An absent field is empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EndUserFields<'a> {
    pub(crate) identifier: &'a str,
    pub(crate) name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) phone: &'a str,
}

impl<'a> EndUserFields<'a> {
    pub(crate) fn to_end_user(self) -> EndUser {
        let Self { identifier, name, email, phone } = self;
        let mut end = 0_u16;
        let ends = [identifier, name, email].map(|field| {
            // This never saturates: four fields of the maximum length, in characters of four bytes, are 3,312 bytes.
            end = end.saturating_add(u16::try_from(field.len()).unwrap_or(u16::MAX));
            end
        });
        EndUser { text: [identifier, name, email, phone].concat().into_boxed_str(), ends }
    }

    /// These fields, with those of `former` for the absent ones.
    pub(crate) fn or(self, former: EndUserFields<'a>) -> Self {
        let or = |new: &'a str, old: &'a str| if new.is_empty() { old } else { new };
        Self {
            identifier: or(self.identifier, former.identifier),
            name: or(self.name, former.name),
            email: or(self.email, former.email),
            phone: or(self.phone, former.phone),
        }
    }
}

fn present(field: &str) -> Option<&str> {
    (!field.is_empty()).then_some(field)
}

/// A field of an [`EndUser`]; its text is the field's name in the published contract.
///
/// The variants are in the order in which a request's fields are validated. The enum is exhaustive on purpose: the
/// contract is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndUserField {
    /// `identifier`, the unique external id.
    Identifier,
    /// `name`.
    Name,
    /// `email`.
    Email,
    /// `phone`.
    Phone,
}

string_enum!(EndUserField as "field": Identifier = "identifier", Name = "name", Email = "email", Phone = "phone");

impl EndUserField {
    /// The maximum length of the field in characters, from [`limits`].
    ///
    /// ```
    /// assert_eq!(midsession::EndUserField::Phone.max_chars(), 64);
    /// ```
    #[must_use]
    pub const fn max_chars(self) -> usize {
        match self {
            Self::Identifier => limits::IDENTIFIER_MAX_CHARS,
            Self::Name => limits::NAME_MAX_CHARS,
            Self::Email => limits::EMAIL_MAX_CHARS,
            Self::Phone => limits::PHONE_MAX_CHARS,
        }
    }

    /// The text of this field of an end user, which is empty if `text` is blank.
    #[inline]
    pub(crate) fn check(self, text: &str, rules: Rules) -> Result<&str, EndUserError> {
        match (is_blank(text), self) {
            (true, Self::Identifier) => Err(EndUserError::Missing),
            (true, _) => Ok(""),
            (false, _) if self.accepts(text, rules) => Ok(text),
            (false, _) => Err(EndUserError::Invalid(self)),
        }
    }

    /// Whether the field may hold `text`, which must not be blank.
    fn accepts(self, text: &str, rules: Rules) -> bool {
        match (self, rules) {
            (Self::Email, Rules::Current) if text.len() <= self.max_chars() && email::is_plain_email(text) => true,
            (Self::Email, Rules::Current) => self.is_storable(text) && email::is_special_email(text),
            (Self::Phone, Rules::Current) => self.is_storable(text) && text.chars().any(char::is_numeric),
            (Self::Identifier | Self::Name, _) | (_, Rules::Stored) => self.is_storable(text),
        }
    }

    /// Whether `text` is short enough for the field, and has no control characters.
    fn is_storable(self, text: &str) -> bool {
        // Few bytes are few characters, so most text is not counted; very long text is not counted to its end.
        let fits = text.len() <= self.max_chars()
            || text.chars().take(self.max_chars().saturating_add(1)).count() <= self.max_chars();
        fits && !has_control_character(text)
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Identifier | Self::Name => "text",
            Self::Email => "an e-mail address",
            Self::Phone => "a phone number",
        }
    }
}

/// Which rules the fields of an end user are held to.
#[derive(Clone, Copy)]
pub(crate) enum Rules {
    /// All rules: for what comes in.
    Current,
    /// Only the rules that never change: for what was stored. Other crates define e-mail addresses and digits, and may
    /// change their definitions; what was stored once must stay readable.
    Stored,
}

fn has_control_character(text: &str) -> bool {
    // One pass over the bytes is enough for nearly all text.
    let printable_ascii = text.bytes().fold(true, |printable, byte| printable & matches!(byte, b' '..=b'~'));
    !printable_ascii && text.chars().any(char::is_control)
}

/// Why an [`EndUser`] cannot be built. The error names the field and never repeats its text.
///
/// ```
/// use midsession::EndUser;
///
/// let error = EndUser::new("a\0b").unwrap_err().to_string();
/// assert!(error.starts_with("`identifier` is invalid: expected text"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EndUserError {
    /// The identifier is blank.
    #[error("`identifier` is missing: every end user has one")]
    Missing,
    /// The field's text is not valid.
    #[error(
        "`{0}` is invalid: expected {description} of at most {max} characters{digit}, without control characters",
        description = .0.description(),
        digit = if matches!(.0, EndUserField::Phone) { " with a digit" } else { "" },
        max = .0.max_chars(),
    )]
    Invalid(EndUserField),
}

impl EndUserError {
    /// The refusal of a request that names such an end user: rows 2 and 3 of the table.
    pub(crate) const fn into_link_error(self) -> LinkError {
        match self {
            Self::Missing => LinkError::MissingParam(RequiredParam::Identifier),
            Self::Invalid(field) => LinkError::InvalidParam(field),
        }
    }
}

impl fmt::Debug for EndUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = |field: Option<&str>| field.map(|_| format_args!("<redacted>"));
        formatter
            .debug_struct("EndUser")
            .field("identifier", &format_args!("<redacted>"))
            .field("name", &redacted(self.name()))
            .field("email", &redacted(self.email()))
            .field("phone", &redacted(self.phone()))
            .finish()
    }
}

impl Serialize for EndUser {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let EndUserFields { identifier, name, email, phone } = self.fields();
        let fields = [("identifier", identifier), ("name", name), ("email", email), ("phone", phone)];
        // A map and not a struct, which some formats write as an array.
        serializer.collect_map(fields.into_iter().filter(|(_, text)| !text.is_empty()))
    }
}

impl<'de> Deserialize<'de> for EndUser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LinkRequest::deserialize(deserializer)?.to_end_user(Rules::Current).map_err(D::Error::custom)
    }
}
