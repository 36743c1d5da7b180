use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use core::fmt;

use serde::de::{Deserialize, Deserializer};

use crate::CommType;
use crate::de::{self, FromValue, Value};

/// One request parameter as it was sent: blank, text, or a value that is not text.
///
/// Blank follows Rails' `params.require`, because the published messages are Rails'. A blank param counts as missing:
/// - absent, or `null`;
/// - `""`, or only white space (Unicode `White_Space`);
/// - `{}`, `[]`, or an array of nothing but nulls.
///
/// Every other number, boolean, array or object is [`NotText`](Self::NotText).
///
/// Build a param with `From`, which turns blank text into [`Blank`](Self::Blank). A `Text` that you build yourself counts
/// as blank too if it holds only white space. `Debug` shows which of the three it is, and never the text.
///
/// ```
/// use midsession::Param;
///
/// assert_eq!(Param::from("\u{a0}\t"), Param::Blank);
/// assert_eq!(Param::from(None::<String>), Param::Blank);
/// assert_eq!(Param::from("abc").as_text(), Some("abc"));
/// assert_eq!(format!("{:?}", Param::from("abc")), "Text(<redacted>)");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Param<'a> {
    /// Absent, or one of the values that count as absent.
    #[default]
    Blank,
    /// A string, byte for byte as it was sent.
    Text(Cow<'a, str>),
    /// Present, but not a string.
    NotText,
}

impl Param<'_> {
    /// The text. Returns `None` if the param is blank or not text.
    pub fn as_text(&self) -> Option<&str> {
        self.text_or_blank().filter(|text| !is_blank(text))
    }

    /// Whether the param counts as missing. Text of only white space does.
    ///
    /// ```
    /// use midsession::Param;
    ///
    /// assert!(Param::Text(" ".into()).is_blank());
    /// assert!(!Param::NotText.is_blank());
    /// ```
    pub fn is_blank(&self) -> bool {
        self.text_or_blank().is_some_and(is_blank)
    }

    /// The text, or blank text if the param is blank. Returns `None` if it is not text.
    pub(crate) fn text_or_blank(&self) -> Option<&str> {
        match self {
            Self::Blank => Some(""),
            Self::Text(text) => Some(text),
            Self::NotText => None,
        }
    }

    /// The same param with text of its own, for a queue, or for a task that outlives the request's bytes.
    ///
    /// ```
    /// use midsession::Param;
    ///
    /// let body = String::from("abc");
    /// let param: Param<'static> = Param::from(&body).into_owned();
    /// drop(body);
    /// assert_eq!(param.as_text(), Some("abc"));
    /// ```
    #[must_use]
    pub fn into_owned(self) -> Param<'static> {
        match self {
            Self::Blank => Param::Blank,
            Self::Text(text) => Param::Text(Cow::Owned(text.into_owned())),
            Self::NotText => Param::NotText,
        }
    }
}

/// Whether Rails' `blank?` holds for `text`.
pub(crate) fn is_blank(text: &str) -> bool {
    // A short cut for nearly all text, because every field of a request is asked.
    let starts_visibly = text.as_bytes().first().is_some_and(u8::is_ascii_graphic);
    !starts_visibly && text.chars().all(char::is_whitespace)
}

impl fmt::Debug for Param<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Blank => "Blank",
            Self::Text(_) => "Text(<redacted>)",
            Self::NotText => "NotText",
        })
    }
}

macro_rules! from_text {
    ($($text:ty)*) => {
        $(impl<'a> From<$text> for Param<'a> {
            fn from(text: $text) -> Self {
                let text: Cow<'a, str> = text.into();
                if is_blank(&text) { Self::Blank } else { Self::Text(text) }
            }
        })*
    };
}

from_text! { &'a str &'a String String Cow<'a, str> }

impl From<CommType> for Param<'_> {
    fn from(comm_type: CommType) -> Self {
        Self::Text(Cow::Borrowed(comm_type.as_str()))
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(param: Option<T>) -> Self {
        param.map_or(Self::Blank, Into::into)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Param<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::any(deserializer)
    }
}

impl<'de: 'a, 'a> FromValue<'de> for Param<'a> {
    fn from_value(value: Value<'_>) -> Self {
        match value {
            Value::Blank => Self::Blank,
            Value::Text(text) => text.to_owned().into(),
            Value::Unsigned(_) | Value::Other => Self::NotText,
        }
    }

    fn from_borrowed(text: &'de str) -> Self {
        text.into()
    }
}
