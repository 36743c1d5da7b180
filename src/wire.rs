//! The one door by which serde brings anything in.
//!
//! serde's own visitors read arrays by position, take integers for field names, and repeat a value of the wrong type in
//! their errors. An identity must not be guessed and a person's data must not reach a log, so nothing here is derived:
//! every value is first taken for what it is, whatever that may be, and judged afterwards by errors that name the field
//! alone.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use crate::Param;

/// What a type makes of each shape a value can have; a shape it has no use for is [`other`](Self::other).
pub(crate) trait FromAny<'de>: Sized {
    fn other() -> Self;

    fn null() -> Self {
        Self::other()
    }

    fn text(_: Cow<'de, str>) -> Self {
        Self::other()
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

/// Reads an object's known fields by `read`, which gets a field's index in `keys`. Unknown fields are skipped.
///
/// # Errors
/// - A known field is there twice: which of the two is meant would be a guess.
/// - What `read` answers.
pub(crate) fn fields<'de, A: MapAccess<'de>, const N: usize>(
    mut map: A,
    keys: [&'static str; N],
    mut read: impl FnMut(&'static str, &mut A) -> Result<(), A::Error>,
) -> Result<(), A::Error> {
    let mut unread = keys.map(Some);
    while let Some(known) = map.next_key_seed(KeyOf(&keys))? {
        let Some((key, index)) = known else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        if unread.get_mut(index).and_then(Option::take).is_none() {
            return Err(A::Error::duplicate_field(key));
        }
        read(key, &mut map)?;
    }
    Ok(())
}

/// Reads one of an enum's words; `field` and `words` are for the error.
pub(crate) fn word<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
    words: &'static str,
) -> Result<T, D::Error> {
    // A format told to expect text answers anything else with an error that repeats it: not to be passed on.
    let text: Option<Param<'de>> = deserializer.deserialize_str(AnyVisitor(PhantomData)).ok();
    text.and_then(|text| parse(&text))
        .ok_or_else(|| D::Error::custom(format_args!("`{field}` is invalid: it is {words}")))
}

/// A param's text as a `T`; none where it is no text, or no `T`.
pub(crate) fn parse<T: FromStr>(param: &Param<'_>) -> Option<T> {
    param.as_text()?.parse().ok()
}

/// A whole number that is not negative, if it is one.
///
/// Asks the format for an integer: some (`serde_json` with `arbitrary_precision`) show numbers as objects to those who
/// ask for anything. A format's own refusal repeats the value, so it is not passed on.
pub(crate) struct Whole(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(deserializer.deserialize_u64(AnyVisitor(PhantomData)).unwrap_or(Self(None)))
    }
}

impl FromAny<'_> for Whole {
    fn other() -> Self {
        Self(None)
    }

    fn whole(number: u64) -> Self {
        Self(Some(number))
    }
}

struct KeyOf<'k, const N: usize>(&'k [&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for KeyOf<'_, N> {
    type Value = Option<(&'static str, usize)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let Key(text) = deserializer.deserialize_identifier(AnyVisitor(PhantomData))?;
        Ok(text
            .and_then(|text| self.0.iter().zip(0..).find(|(key, _)| **key == text).map(|(key, index)| (*key, index))))
    }
}

struct Key<'de>(Option<Cow<'de, str>>);

impl<'de> FromAny<'de> for Key<'de> {
    fn other() -> Self {
        Self(None)
    }

    fn text(text: Cow<'de, str>) -> Self {
        Self(Some(text))
    }
}

struct AnyVisitor<T>(PhantomData<T>);

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
        Ok(T::text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<T, E> {
        Ok(T::text(Cow::Owned(text)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(u64::try_from(number).map_or_else(|_| T::other(), T::whole))
    }

    fn visit_u128<E>(self, _: u128) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_i128<E>(self, _: i128) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<T, E> {
        Ok(T::other())
    }

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
