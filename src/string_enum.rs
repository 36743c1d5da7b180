//! What every enum of words has: a list of its variants, and conversions to and from text and serde.

use core::fmt;

/// The error of parsing text that is not one of an enum's words. It names the words, and never repeats the text.
///
/// ```
/// use midsession::CommType;
///
/// let error = "email".parse::<CommType>().unwrap_err();
/// assert_eq!(error.to_string(), "`comm_type` is invalid: expected `call` or `chat`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("`{name}` is invalid: expected {}", Alternatives(words))]
pub struct ParseWordError {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static str],
}

/// `a`, `b` or `c`.
struct Alternatives(&'static [&'static str]);

impl fmt::Display for Alternatives {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        write!(formatter, "`{}` or `{last}`", others.join("`, `"))
    }
}

/// Implements `ALL`, `as_str`, `Display`, `FromStr`, serde and the conversion to `&'static str` for an enum of words.
macro_rules! string_enum {
    ($type:ident as $name:literal: $($variant:ident = $word:literal),+) => {
        impl $type {
            /// All variants, in the order of their declaration.
            ///
            /// ```
            #[doc = concat!("use midsession::", stringify!($type), ";")]
            ///
            #[doc = concat!("let words: Vec<_> = ", stringify!($type), "::ALL.iter().map(|word| word.as_str()).collect();")]
            #[doc = concat!("assert_eq!(words, [", $("\"", $word, "\", ",)+ "]);")]
            /// ```
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const UNKNOWN_WORD: $crate::ParseWordError =
                $crate::ParseWordError { name: $name, words: &[$($word),+] };

            /// The variant's word, which is also what `Display` prints and `FromStr` reads.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl core::str::FromStr for $type {
            type Err = $crate::ParseWordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or(Self::UNKNOWN_WORD)
            }
        }

        impl From<$type> for &'static str {
            fn from(word: $type) -> Self {
                word.as_str()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        // The error is that of `FromStr`, which never repeats the value.
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word: Option<Self> = $crate::de::word(deserializer)?;
                word.ok_or_else(|| serde::de::Error::custom(Self::UNKNOWN_WORD))
            }
        }
    };
}
pub(crate) use string_enum;
