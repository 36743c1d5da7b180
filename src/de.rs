//! All deserialization goes through this module.
//!
//! serde's derived code reads arrays by position, accepts integers as field names, and repeats a value of the wrong type in
//! its errors. An identity must not be guessed, and personal data must not reach a log. So nothing is derived here: a value
//! of any shape is read first and checked afterwards, and the errors name only the field.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A value of any shape.
pub(crate) enum Value<'a> {
    /// `null`, an array of nothing but nulls, or an object without fields.
    Blank,
    Text(&'a str),
    Unsigned(u64),
    Other,
}

/// A type that is built from a value of any shape.
pub(crate) trait FromValue<'de>: Sized {
    fn from_value(value: Value<'_>) -> Self;

    /// From text that lives as long as the input.
    fn from_borrowed(text: &'de str) -> Self {
        Self::from_value(Value::Text(text))
    }

    fn from_object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut value = Value::Blank;
        while let Some(Any(key)) = map.next_key::<Any<Key<NoField>>>()? {
            key.skip_value(&mut map)?;
            value = Value::Other;
        }
        Ok(Self::from_value(value))
    }
}

/// Reads a value of any shape. It fails only if the format does, or [`FromValue::from_object`].
pub(crate) fn any<'de, T: FromValue<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor { refused: &Cell::new(false), value: PhantomData })
}

/// A value of any shape, where a format is asked for a type.
pub(crate) struct Any<T>(pub(crate) T);

impl<'de, T: FromValue<'de>> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer).map(Self)
    }
}

/// Implements `Deserialize` for a struct. An object's fields are read into the fields with the same names, and any other
/// value has no fields. A field with another name is skipped, or refused with the error `unknown`.
///
/// A field given twice is an error, because to choose one of the two would be a guess.
macro_rules! serde_object {
    ($type:ident: $($field:ident),+ $(; unknown: $unknown:expr)?) => {
        impl<'de: 'a, 'a> serde::Deserialize<'de> for $type<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::de::any(deserializer)
            }
        }

        impl<'de: 'a, 'a> $crate::de::FromValue<'de> for $type<'a> {
            fn from_value(_: $crate::de::Value<'_>) -> Self {
                Self::default()
            }

            fn from_object<A: serde::de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                #[derive(strum::EnumString)]
                #[allow(non_camel_case_types, reason = "named as the fields are")]
                enum Field {
                    $($field),+
                }

                let mut object = Self::default();
                $(let mut $field = false;)+
                while let Some($crate::de::Any(key)) = map.next_key()? {
                    match key {
                        $($crate::de::Key::Known(Field::$field) => {
                            if core::mem::replace(&mut $field, true) {
                                return Err(serde::de::Error::duplicate_field(stringify!($field)));
                            }
                            object.$field = map.next_value()?;
                        })+
                        unknown => {
                            unknown.skip_value(&mut map)?;
                            $(return Err(serde::de::Error::custom($unknown));)?
                        }
                    }
                }
                Ok(object)
            }
        }
    };
}
pub(crate) use serde_object;

/// A key of an object whose known keys are those of `T`.
pub(crate) enum Key<T> {
    Known(T),
    /// The one key of the object in which `serde_json` shows a number if its feature `arbitrary_precision` is on.
    Number,
    Unknown,
}

impl<T> Key<T> {
    /// Skips the value of this key, for which there is no field.
    ///
    /// A number that is too great for 64 bits is an error of the format. `serde_json` itself says so, but not with
    /// `arbitrary_precision`, which any crate of the same build may switch on; a decision must not depend on that.
    pub(crate) fn skip_value<'de, A: MapAccess<'de>>(self, map: &mut A) -> Result<(), A::Error> {
        let Self::Number = self else { return map.next_value::<IgnoredAny>().map(drop) };
        let Any(InRange(in_range)) = map.next_value()?;
        if in_range { Ok(()) } else { Err(A::Error::custom("number out of range")) }
    }
}

impl<T: FromStr> FromValue<'_> for Key<T> {
    fn from_value(value: Value<'_>) -> Self {
        match value {
            Value::Text("$serde_json::private::Number") => Self::Number,
            Value::Text(text) => text.parse().map_or(Self::Unknown, Self::Known),
            _ => Self::Unknown,
        }
    }
}

/// The field of an object that has none.
enum NoField {}

impl FromStr for NoField {
    type Err = ();

    fn from_str(_: &str) -> Result<Self, ()> {
        Err(())
    }
}

/// Whether a number, given as text, fits into 64 bits.
struct InRange(bool);

impl FromValue<'_> for InRange {
    fn from_value(value: Value<'_>) -> Self {
        let Value::Text(text) = value else { return Self(true) };
        Self(text.parse().is_ok_and(f64::is_finite))
    }
}

/// Reads a value in the way in which `ask` asks the format for it.
///
/// A format that is asked for one shape and meets another one refuses it with an error that may repeat the value, so that
/// error is not passed on. It is recognised by this: to write it, the format asks the visitor what was expected. All other
/// errors (broken JSON, a reader that fails) are passed on as they are. The caller must fail after a refusal, because the
/// value is not read.
fn read<'de, T: FromValue<'de>, E>(ask: impl FnOnce(AnyVisitor<'_, T>) -> Result<T, E>) -> Result<T, E> {
    let refused = Cell::new(false);
    match ask(AnyVisitor { refused: &refused, value: PhantomData }) {
        Err(_) if refused.get() => Ok(T::from_value(Value::Other)),
        result => result,
    }
}

/// Reads one of the words of `T`; `None` if the value is anything else.
///
/// Asks the format for text, because some formats cannot tell a value's shape.
pub(crate) fn word<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    read(|visitor| deserializer.deserialize_str(visitor)).map(|Word(word)| word)
}

/// Reads an unsigned number; `None` if the value is anything else.
///
/// Asks a text format for a number, because `serde_json` with `arbitrary_precision` shows one as an object if it is not
/// asked.
pub(crate) fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    if deserializer.is_human_readable() {
        read(|visitor| deserializer.deserialize_u64(visitor))
    } else {
        any(deserializer)
    }
}

impl FromValue<'_> for Option<u64> {
    fn from_value(value: Value<'_>) -> Self {
        if let Value::Unsigned(number) = value { Some(number) } else { None }
    }
}

/// One of the words of `T`; `None` if the value is anything else.
struct Word<T>(Option<T>);

impl<T: FromStr> FromValue<'_> for Word<T> {
    fn from_value(value: Value<'_>) -> Self {
        Self(if let Value::Text(text) = value { text.parse().ok() } else { None })
    }
}

struct AnyVisitor<'a, T> {
    /// Set when the format says what was expected, so when it refuses a value's shape.
    refused: &'a Cell<bool>,
    value: PhantomData<T>,
}

macro_rules! visit {
    ($($visit:ident($($input:tt: $type:ty)?) => $value:expr;)*) => {
        $(fn $visit<E>(self $(, $input: $type)?) -> Result<T, E> {
            Ok(T::from_value($value))
        })*
    };
}

impl<'de, T: FromValue<'de>> Visitor<'de> for AnyVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.set(true);
        formatter.write_str("a value")
    }

    visit! {
        visit_unit() => Value::Blank;
        visit_none() => Value::Blank;
        visit_str(text: &str) => Value::Text(text);
        visit_u64(number: u64) => Value::Unsigned(number);
        visit_i64(number: i64) => u64::try_from(number).map_or(Value::Other, Value::Unsigned);
        // Shapes that no type here has a use for. serde's own errors for them would repeat the value.
        visit_u128(_: u128) => Value::Other;
        visit_i128(_: i128) => Value::Other;
        visit_f64(_: f64) => Value::Other;
        visit_bool(_: bool) => Value::Other;
        visit_bytes(_: &[u8]) => Value::Other;
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::from_borrowed(text))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        any(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        any(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut value = Value::Blank;
        while let Some(element) = seq.next_element::<Option<IgnoredAny>>()? {
            if element.is_some() {
                value = Value::Other;
            }
        }
        Ok(T::from_value(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_object(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<T, A::Error> {
        data.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>()?;
        Ok(T::from_value(Value::Other))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use serde::de::Expected;

    use super::*;

    #[test]
    fn a_formats_own_error_says_that_a_value_was_expected() {
        let visitor: &dyn Expected = &AnyVisitor::<Option<u64>> { refused: &Cell::new(false), value: PhantomData };
        assert_eq!(visitor.to_string(), "a value");
    }
}
