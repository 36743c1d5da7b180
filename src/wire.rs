//! The one door by which serde brings anything in.
//!
//! serde's own visitors read arrays by position, take integers for field names, and repeat a value of the wrong type in
//! their errors. An identity must not be guessed and a person's data must not reach a log, so nothing here is derived:
//! every value is first taken for what it is, whatever that may be, and judged afterwards by errors that name the field
//! alone.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use strum::VariantArray;

/// What a type makes of each shape a value can have; a shape it has no use for is [`other`](Self::other).
pub(crate) trait FromAny<'de>: Sized {
    fn other() -> Self;

    fn null() -> Self {
        Self::other()
    }

    fn text(_: &str) -> Self {
        Self::other()
    }

    /// Text that the format lends.
    fn lent(text: &'de str) -> Self {
        Self::text(text)
    }

    fn whole(_: u64) -> Self {
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

/// Reads a value of any shape; fails only where the format itself does, or [`FromAny::object`].
pub(crate) fn any<'de, T: FromAny<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor(PhantomData))
}

/// Reads an object's fields by `read`, those that `K` knows. Other fields are skipped.
///
/// # Errors
/// - A known field is there twice: which of the two is meant would be a guess.
/// - What `read` answers.
pub(crate) fn fields<'de, K, A: MapAccess<'de>>(
    mut map: A,
    mut read: impl FnMut(K, &mut A) -> Result<(), A::Error>,
) -> Result<(), A::Error>
where
    K: FromStr + VariantArray + PartialEq + Copy + Into<&'static str>,
{
    let mut met = 0_u32;
    while let Some(Word(key)) = map.next_key::<Word<K>>()? {
        let Some(key) = key else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        let bit =
            K::VARIANTS.iter().zip(0..).find(|(known, _)| **known == key).map_or(0, |(_, at)| 1_u32.wrapping_shl(at));
        if met & bit != 0 {
            return Err(A::Error::duplicate_field(key.into()));
        }
        met |= bit;
        read(key, &mut map)?;
    }
    Ok(())
}

/// serde for an enum of words, by its strum texts. A refusal names `$field` and the `$words`, never the value.
macro_rules! serde_words {
    ($type:ty, $field:literal, $words:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.into())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::word(deserializer)
                    .ok_or_else(|| serde::de::Error::custom(concat!("`", $field, "` is invalid: it is ", $words)))
            }
        }
    };
}
pub(crate) use serde_words;

/// Reads one of the words of `T`, if it is one.
///
/// Asks the format for text, for the formats that cannot tell a value's shape. A format that was told what to expect
/// answers anything else with an error that repeats the value, so its error is not passed on.
pub(crate) fn word<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Option<T> {
    deserializer.deserialize_str(AnyVisitor(PhantomData)).ok().and_then(|Word(word)| word)
}

/// Reads a whole number, if it is one; for the rest as [`word`].
///
/// Some formats (`serde_json` with `arbitrary_precision`) show a number as an object unless they are asked for one.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Option<u64> {
    deserializer.deserialize_u64(AnyVisitor(PhantomData)).ok().and_then(|Whole(number)| number)
}

struct Word<T>(Option<T>);

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

struct Whole(Option<u64>);

impl FromAny<'_> for Whole {
    fn other() -> Self {
        Self(None)
    }

    fn whole(number: u64) -> Self {
        Self(Some(number))
    }
}

struct AnyVisitor<T>(PhantomData<T>);

macro_rules! visit_other {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<T, E> {
            Ok(T::other())
        })*
    };
}

impl<'de, T: FromAny<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        Ok(T::lent(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(u64::try_from(number).map_or_else(|_| T::other(), T::whole))
    }

    // The shapes that nobody here has a use for; serde's own refusal of them would repeat the value.
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
    use serde::de::Expected;

    use super::*;

    #[test]
    fn a_formats_own_refusal_says_that_a_value_was_expected() {
        let visitor: &dyn Expected = &AnyVisitor::<Whole>(PhantomData);
        assert_eq!(visitor.to_string(), "a value");
    }
}
