use core::fmt;
use core::time::Duration;

use crate::string_enum::string_enum;
use crate::{CommType, EndUserField};

/// Why a link is refused: rows 1 to 8 of the [decision table](crate#the-decision).
///
/// `Display` prints the published message, letter for letter; [`Answer`](crate::Answer) is the whole answer. An error holds
/// nothing of the request. The enum is exhaustive on purpose: the contract is closed, and your `match` should fail to
/// compile if it ever changes.
///
/// ```
/// use midsession::{CommType, LinkError, LinkErrorKind};
///
/// let error = LinkError::AlreadyEnded(CommType::Call);
/// assert_eq!(error.to_string(), "Call is already ended");
/// assert_eq!(error.kind(), LinkErrorKind::AlreadyEnded);
/// assert_eq!(error.kind().as_str(), "already_ended"); // for a log or a metric
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LinkError {
    /// Rows 1 and 2: a required param is blank.
    MissingParam(RequiredParam),
    /// Row 3 (*ours*): a field is present but not valid.
    InvalidParam(EndUserField),
    /// Row 4: the comm type is neither call nor chat. Row 5: the session has the other comm type, or is unknown (*ours*).
    NotFound,
    /// Row 6: the session, which has this comm type, has ended.
    AlreadyEnded(CommType),
    /// Row 7: the session's CRM does not support end-user updates.
    UnsupportedCrm,
    /// Row 8: the request is inside the duplicate interval of the last accepted link.
    Duplicate {
        /// The exact time to wait, never zero. At `now + retry_after` the same request is not a duplicate; one nanosecond
        /// earlier it still is. [`Duration::MAX`] stands for any longer time.
        retry_after: Duration,
    },
}

impl LinkError {
    /// The kind of this error, without its data; a label for logs and metrics.
    pub const fn kind(&self) -> LinkErrorKind {
        match self {
            Self::MissingParam(_) => LinkErrorKind::MissingParam,
            Self::InvalidParam(_) => LinkErrorKind::InvalidParam,
            Self::NotFound => LinkErrorKind::NotFound,
            Self::AlreadyEnded(_) => LinkErrorKind::AlreadyEnded,
            Self::UnsupportedCrm => LinkErrorKind::UnsupportedCrm,
            Self::Duplicate { .. } => LinkErrorKind::Duplicate,
        }
    }

    /// The param that is missing or not valid, such as `email`; a label for logs and metrics beside [`kind`](Self::kind).
    /// Returns `None` for the other kinds.
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::MissingParam(param) => Some(param.as_str()),
            Self::InvalidParam(field) => Some(field.as_str()),
            Self::NotFound | Self::AlreadyEnded(_) | Self::UnsupportedCrm | Self::Duplicate { .. } => None,
        }
    }

    /// Every error that there is, with this wait.
    pub(crate) fn all(retry_after: Duration) -> impl Iterator<Item = Self> {
        let missing = RequiredParam::ALL.iter().copied().map(Self::MissingParam);
        let invalid = EndUserField::ALL.iter().copied().map(Self::InvalidParam);
        let ended = CommType::ALL.iter().copied().map(Self::AlreadyEnded);
        let others = [Self::NotFound, Self::UnsupportedCrm, Self::Duplicate { retry_after }];
        missing.chain(invalid).chain(ended).chain(others)
    }

    /// The published texts, in one place.
    pub(crate) const fn text(&self) -> Text {
        use CommType::{Call, Chat};
        use EndUserField::{Email, Identifier, Name, Phone};

        match self {
            Self::MissingParam(param) => match param {
                RequiredParam::CommType => text!("param is missing or the value is empty: comm_type"),
                RequiredParam::Identifier => text!("param is missing or the value is empty: identifier"),
            },
            Self::InvalidParam(Identifier) => text!("param is invalid: identifier"),
            Self::InvalidParam(Name) => text!("param is invalid: name"),
            Self::InvalidParam(Email) => text!("param is invalid: email"),
            Self::InvalidParam(Phone) => text!("param is invalid: phone"),
            Self::NotFound => text!("Not Found"),
            Self::AlreadyEnded(Call) => text!("Call is already ended"),
            Self::AlreadyEnded(Chat) => text!("Chat is already ended"),
            Self::UnsupportedCrm => text!("Unsupported CRM request"),
            Self::Duplicate { .. } => text!("Duplicate request: Please wait for the interval to expire"),
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text().message)
    }
}

/// The kind of a [`LinkError`], without its data.
///
/// Its word is a label for logs and metrics:
///
/// ```
/// use midsession::{Accepted, EndUserField, LinkError};
///
/// /// What happened, and which param the client must correct.
/// fn labels(decision: &Result<Accepted, LinkError>) -> (&'static str, &'static str) {
///     match decision {
///         Ok(accepted) => (accepted.change().as_str(), ""),
///         Err(error) => (error.kind().as_str(), error.param().unwrap_or("")),
///     }
/// }
///
/// let refused = Err(LinkError::InvalidParam(EndUserField::Email));
/// assert_eq!(labels(&refused), ("invalid_param", "email"));
/// assert_eq!(labels(&Err(LinkError::NotFound)), ("not_found", ""));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkErrorKind {
    /// [`LinkError::MissingParam`]
    MissingParam,
    /// [`LinkError::InvalidParam`]
    InvalidParam,
    /// [`LinkError::NotFound`]
    NotFound,
    /// [`LinkError::AlreadyEnded`]
    AlreadyEnded,
    /// [`LinkError::UnsupportedCrm`]
    UnsupportedCrm,
    /// [`LinkError::Duplicate`]
    Duplicate,
}

string_enum!(LinkErrorKind as "kind":
    MissingParam = "missing_param", InvalidParam = "invalid_param", NotFound = "not_found",
    AlreadyEnded = "already_ended", UnsupportedCrm = "unsupported_crm", Duplicate = "duplicate");

/// A message, on its own and as the body of an answer.
pub(crate) struct Text {
    pub(crate) message: &'static str,
    pub(crate) body: &'static str,
}

macro_rules! text {
    ($message:literal) => {
        $crate::error::Text { message: $message, body: concat!(r#"{"message":""#, $message, r#""}"#) }
    };
}
pub(crate) use text;

/// A param that every request must have. Its word is the param's name in the published contract.
///
/// ```
/// assert_eq!(midsession::RequiredParam::CommType.as_str(), "comm_type");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequiredParam {
    /// `comm_type`, which the transport reads from the path.
    CommType,
    /// `identifier`, which is in the body.
    Identifier,
}

string_enum!(RequiredParam as "param": CommType = "comm_type", Identifier = "identifier");
