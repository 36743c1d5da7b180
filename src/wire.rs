//! All deserialization goes through this module.
//!
//! serde's derived code reads arrays by position, accepts integers as field names, and repeats a value of the wrong type in
//! its errors. An identity must not be guessed, and personal data must not reach a log. So nothing is derived here: a value
//! of any shape is read first and checked afterwards, and the errors name only the field.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{Deserialize, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

/// How a type is built from a value of each shape. A shape that the type has no use for is [`other`](Self::other).
pub(crate) trait FromAny<'de>: Sized {
    fn other() -> Self;

    fn null() -> Self {
        Self::other()
    }

    fn text(_: &str) -> Self {
        Self::other()
    }

    /// Text that lives as long as the input.
    fn borrowed_str(text: &'de str) -> Self {
        Self::text(text)
    }

    fn unsigned(_: u64) -> Self {
        Self::other()
    }

    fn array(_only_nulls: bool) -> Self {
        Self::other()
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::other())
    }
}

/// Reads a value of any shape. It fails only if the format does, or [`FromAny::object`].
pub(crate) fn any<'de, T: FromAny<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor { refused: &Cell::new(false), value: PhantomData })
}

/// Reads an object's fields into the fields of `$record` with the same names. `$unknown` runs for any other name; without
/// it, such a field is skipped.
///
/// A field given twice is an error, because to choose one of the two would be a guess.
macro_rules! read_fields {
    ($map:ident into $record:ident: $($field:ident),+) => {
        $crate::wire::read_fields!($map into $record: $($field),+; unknown: {
            $map.next_value::<serde::de::IgnoredAny>()?;
        })
    };
    ($map:ident into $record:ident: $($field:ident),+; unknown: $unknown:expr) => {{
        #[derive(strum::EnumString)]
        #[allow(non_camel_case_types, reason = "named as the fields are")]
        enum Key {
            $($field),+
        }

        $(let mut $field = false;)+
        while let Some($crate::wire::Word(key)) = $map.next_key::<$crate::wire::Word<Key>>()? {
            match key {
                $(Some(Key::$field) => {
                    if core::mem::replace(&mut $field, true) {
                        return Err(serde::de::Error::duplicate_field(stringify!($field)));
                    }
                    $record.$field = $map.next_value()?;
                })+
                None => $unknown,
            }
        }
        Ok($record)
    }};
}
pub(crate) use read_fields;

/// serde for an enum of words. The error is that of `FromStr`, which never repeats the value.
macro_rules! serde_words {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word: Option<Self> = $crate::wire::word(deserializer)?;
                word.ok_or_else(|| serde::de::Error::custom(Self::UNKNOWN_WORD))
            }
        }
    };
}
pub(crate) use serde_words;

/// Reads a value of a shape that the format is asked for.
///
/// A format that meets another shape refuses it with an error that may repeat the value, so that error is not passed on.
/// It is recognised by this: to write it, the format asks the visitor what was expected. All other errors (broken JSON, a
/// reader that fails) are passed on as they are. The caller must fail after a refusal, because the value is not read.
fn read_expected<'de, T: FromAny<'de>, E>(read: impl FnOnce(AnyVisitor<'_, T>) -> Result<T, E>) -> Result<T, E> {
    let refused = Cell::new(false);
    match read(AnyVisitor { refused: &refused, value: PhantomData }) {
        Err(_) if refused.get() => Ok(T::other()),
        result => result,
    }
}

/// Reads one of the words of `T`; `None` if the value is anything else.
///
/// Asks the format for text, because some formats cannot tell a value's shape.
pub(crate) fn word<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    read_expected(|visitor| deserializer.deserialize_str(visitor)).map(|Word(word)| word)
}

/// Reads an unsigned number; `None` if the value is anything else.
///
/// Asks a text format for a number, because `serde_json` with `arbitrary_precision` shows one as an object if it is not
/// asked.
pub(crate) fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Unsigned(number) = if deserializer.is_human_readable() {
        read_expected(|visitor: AnyVisitor<'_, Unsigned>| deserializer.deserialize_u64(visitor))?
    } else {
        any(deserializer)?
    };
    Ok(number)
}

/// One of the words of `T`; `None` if the value is anything else.
pub(crate) struct Word<T>(pub(crate) Option<T>);

impl<'de, T: FromStr> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

impl<T: FromStr> FromAny<'_> for Word<T> {
    fn other() -> Self {
        Self(None)
    }

    fn text(text: &str) -> Self {
        Self(text.parse().ok())
    }
}

struct Unsigned(Option<u64>);

impl FromAny<'_> for Unsigned {
    fn other() -> Self {
        Self(None)
    }

    fn unsigned(number: u64) -> Self {
        Self(Some(number))
    }
}

struct AnyVisitor<'a, T> {
    /// Set when the format says what was expected, so when it refuses a value's shape.
    refused: &'a Cell<bool>,
    value: PhantomData<T>,
}

macro_rules! visit_other {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<T, E> {
            Ok(T::other())
        })*
    };
}

impl<'de, T: FromAny<'de>> Visitor<'de> for AnyVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.set(true);
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        any(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        any(deserializer)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::borrowed_str(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(u64::try_from(number).map_or_else(|_| T::other(), T::unsigned))
    }

    // Shapes that no type here has a use for. serde's own errors for them would repeat the value.
    visit_other! { visit_u128(u128) visit_i128(i128) visit_f64(f64) visit_bool(bool) visit_bytes(&[u8]) }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut only_nulls = true;
        while let Some(element) = seq.next_element::<Option<IgnoredAny>>()? {
            only_nulls &= element.is_none();
        }
        Ok(T::array(only_nulls))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<T, A::Error> {
        data.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>()?;
        Ok(T::other())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use serde::de::Expected;

    use super::*;

    #[test]
    fn a_formats_own_error_says_that_a_value_was_expected() {
        let visitor: &dyn Expected = &AnyVisitor::<Unsigned> { refused: &Cell::new(false), value: PhantomData };
        assert_eq!(visitor.to_string(), "a value");
    }
}
