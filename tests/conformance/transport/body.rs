//! From a body to a request, with switches for what parsers and extractors get wrong.

use std::collections::BTreeSet;
use std::fmt;

use midsession::testing::conformance::Case;
use midsession::{LinkRequest, Param};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::route::Route;
use super::{Slip, source};

/// The request, or the status by which its body is refused.
pub fn read(case: &Case, route: &Route, slip: Option<Slip>) -> Result<LinkRequest<'static>, u16> {
    source::refused_by_its_type(case, slip)?;
    let declared = slip.filter(|slip| *slip == Slip::BodyDecodedByItsCharacterSet);
    let declared = declared.and_then(|_| source::decoded_by_its_character_set(case));
    let body = declared.or_else(|| decoded(&case.body, slip)).ok_or(400_u16)?;
    if let Some(status) = slip.and_then(|slip| refused(&body, slip)) {
        return Err(status);
    }
    let text = match slip {
        Some(Slip::FormsTakenByTheirType) if source::is_form(case) => form(&body),
        Some(slip) => repaired(&body, slip),
        None => body.clone(),
    };
    let read = serde_json::from_str::<LinkRequest>(&text).map_err(|_| 400_u16)?.into_owned();
    Ok(misread(&body, case, read, route, slip))
}

/// The body as text; none if it is not UTF-8.
fn decoded(body: &[u8], slip: Option<Slip>) -> Option<String> {
    let latin1 = || body.iter().map(|byte| char::from(*byte)).collect();
    match (slip, std::str::from_utf8(body)) {
        (Some(Slip::Utf16Taken), _) if body.contains(&0) => {
            Some(latin1()).map(|text: String| text.replace(['\0', 'ÿ', 'þ'], ""))
        }
        (_, Ok(text)) => Some(text.to_owned()),
        (Some(Slip::InvalidUtf8Replaced), _) => Some(String::from_utf8_lossy(body).into_owned()),
        (Some(Slip::InvalidUtf8ReadAsLatin1), _) => Some(latin1()),
        _ => None,
    }
}

/// What the parser, or the code behind it, does not stand.
fn refused(body: &str, slip: Slip) -> Option<u16> {
    let value = || serde_json::from_str::<Value>(body).ok();
    match slip {
        Slip::BrokenJsonCrashes => (serde_json::from_str::<LinkRequest>(body).is_err()).then_some(500),
        Slip::EmptyBodyCrashes => body.is_empty().then_some(500),
        Slip::BodyThatIsNoObjectCrashes => (!value()?.is_object()).then_some(500),
        Slip::NestingOf64Refused => (depth(body) > 64).then_some(400),
        Slip::DeepNestingCrashes => (depth(body) > 1000).then_some(500),
        Slip::UnknownKeysRefused => {
            let known = ["comm_type", "identifier", "name", "email", "phone"];
            value()?.as_object()?.keys().any(|key| !known.contains(&key.as_str())).then_some(400)
        }
        Slip::NumbersBeyondFloatsRefused => body.contains("1e999").then_some(400),
        Slip::LongNumbersRefused => body.contains(&"9".repeat(500)).then_some(400),
        // Python's `int` takes 4,300 digits.
        Slip::NumbersOf5000DigitsRefused => body.contains(&"9".repeat(4301)).then_some(400),
        Slip::NumbersOf5000DigitsInFieldsCrash => {
            body.contains(&format!("\"identifier\":{}", "9".repeat(4301))).then_some(500)
        }
        Slip::BodyOf16KibRefused => (body.len() >= 16 * 1024).then_some(413),
        Slip::HalfSurrogatesInsideCommTypesCrash => has_half_a_surrogate_inside(body, "comm_type").then_some(500),
        Slip::HalfSurrogatesInsideIdentifiersCrash => has_half_a_surrogate_inside(body, "identifier").then_some(500),
        Slip::UnknownKeysTwiceRefused => repeats_a_key(body).then_some(400),
        _ => None,
    }
}

/// Whether this first key of the body has an array or an object with half a surrogate pair in it.
fn has_half_a_surrogate_inside(body: &str, key: &str) -> bool {
    let value = body.strip_prefix(&format!("{{\"{key}\":"));
    value.is_some_and(|value| value.starts_with(['[', '{']) && (value.contains("\\ud") || value.contains("\\uD")))
}

fn depth(body: &str) -> i32 {
    let mut depth = 0;
    let depths = body.chars().map(|char| {
        depth += match char {
            '{' | '[' => 1,
            '}' | ']' => -1,
            _ => 0,
        };
        depth
    });
    depths.max().unwrap_or(0)
}

fn repeats_a_key(body: &str) -> bool {
    let mut met = BTreeSet::new();
    serde_json::from_str::<Keys>(body).is_ok_and(|Keys(keys)| !keys.into_iter().all(|key| met.insert(key)))
}

/// The keys of an object, as often as they are there.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(KeysVisitor)
    }
}

/// The body as a lenient parser reads it.
fn repaired(body: &str, slip: Slip) -> String {
    match slip {
        // `Value` keeps the last.
        Slip::LastOfTwoFieldsTaken => {
            serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |value| value.to_string())
        }
        Slip::MoreAfterTheBodyTaken => {
            let mut values = serde_json::Deserializer::from_str(body).into_iter::<IgnoredAny>();
            let is_whole = matches!(values.next(), Some(Ok(_)));
            if is_whole { body[..values.byte_offset()].to_owned() } else { body.to_owned() }
        }
        Slip::NotANumberTaken => body.replace(":NaN", ":null").replace(":Infinity", ":null"),
        Slip::CommaAtTheEndTaken => body.replace(",}", "}"),
        Slip::CommentsTaken => body.replace("/* */", ""),
        Slip::CommentLinesTaken => {
            body.lines().filter(|line| !line.starts_with("//") && !line.starts_with('#')).collect()
        }
        Slip::NoBreakSpacesRoundTheBodyTaken => body.trim().to_owned(),
        Slip::NulsAfterTheBodyTaken => body.trim_end_matches('\0').to_owned(),
        Slip::BareKeysTaken => body.replace("{identifier:", "{\"identifier\":").replace('\'', "\""),
        Slip::BareControlCharactersTaken if !body.starts_with([' ', '\t']) => body.replace('\t', "\\t"),
        Slip::HalfSurrogatesInPhonesReplaced => {
            body.replace("\"1\\ud800\"", "\"1\\ufffd\"").replace("\"1\\udc00\"", "\"1\\ufffd\"")
        }
        Slip::HalfSurrogatesInCommTypesTaken => body.replace("\"comm_type\":\"\\ud800\"", "\"comm_type\":\"\""),
        Slip::HalfSurrogatesReplaced => body.replace("\\ud800b", "\\ufffdb").replace("\\udfff", "\\ufffd"),
        Slip::FormsTaken if body.starts_with("identifier=") => form(body),
        _ => body.to_owned(),
    }
}

/// A form as the JSON object of its identifier.
fn form(body: &str) -> String {
    let identifier = body.split(['=', '&']).nth(1).unwrap_or_default();
    serde_json::json!({ "identifier": identifier }).to_string()
}

fn misread(
    text: &str,
    case: &Case,
    read: LinkRequest<'static>,
    route: &Route,
    slip: Option<Slip>,
) -> LinkRequest<'static> {
    let body_comm_type = read.comm_type.clone();
    let request = read.with_comm_type(route.comm_type.clone());
    match slip {
        Some(Slip::TrimmedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, |text| text.trim().to_owned()), ..request }
        }
        Some(Slip::TrimmedOptionalFields) => LinkRequest {
            name: edit(request.name, |text| text.trim().to_owned()),
            email: edit(request.email, |text| text.trim().to_owned()),
            phone: edit(request.phone, |text| text.trim().to_owned()),
            ..request
        },
        Some(Slip::LowerCasedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, str::to_lowercase), ..request }
        }
        Some(Slip::PercentDecodedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, super::route::decoded), ..request }
        }
        Some(Slip::LowerCasedEmail) => LinkRequest { email: edit(request.email, str::to_lowercase), ..request },
        Some(Slip::JoinersStripped) => {
            LinkRequest { name: edit(request.name, |text| text.replace(['\u{200d}', '\u{200f}'], "")), ..request }
        }
        Some(Slip::ComposedName) => {
            LinkRequest { name: edit(request.name, |text| text.replace("e\u{308}", "ë")), ..request }
        }
        Some(Slip::EscapedName) => {
            LinkRequest { name: edit(request.name, |text| text.replace('<', "&lt;")), ..request }
        }
        Some(Slip::PhoneOfDigitsAlone) => {
            let digits = |text: &str| text.chars().filter(|char| char.is_numeric()).collect();
            LinkRequest { phone: edit(request.phone, digits), ..request }
        }
        Some(Slip::ComposedIdentifier) => {
            LinkRequest { identifier: edit(request.identifier, |text| text.replace("e\u{301}", "é")), ..request }
        }
        Some(Slip::IdentifierCutAtANul) => {
            let cut = |text: &str| text.split('\0').next().unwrap().to_owned();
            LinkRequest { identifier: edit(request.identifier, cut), ..request }
        }
        Some(Slip::TruncatedText) => LinkRequest {
            identifier: edit(request.identifier, |text| text.chars().take(255).collect()),
            name: edit(request.name, |text| text.chars().take(255).collect()),
            ..request
        },
        Some(Slip::ControlCharactersStripped) => LinkRequest {
            identifier: edit(request.identifier, |text| text.chars().filter(|char| !char.is_control()).collect()),
            ..request
        },
        Some(Slip::PositionalArrays) if text.starts_with('[') => {
            let Derived { comm_type, identifier } = serde_json::from_str(text).unwrap_or_default();
            LinkRequest { comm_type: comm_type.into(), identifier: identifier.into(), ..request }
                .with_comm_type(route.comm_type.clone())
        }
        Some(Slip::BodyCommTypeStandsOverThePaths) if !body_comm_type.is_blank() => {
            request.with_comm_type(body_comm_type)
        }
        Some(Slip::BodyCommTypeFillsABlankPath) if route.comm_type.is_blank() => request.with_comm_type(body_comm_type),
        Some(Slip::CommTypeInAnyCase) if case.path.contains("/Chats/") => request.with_comm_type("chat"),
        Some(slip) => LinkRequest { identifier: misread_value(text, request.identifier, slip), ..request },
        None => request,
    }
}

/// What serde's derive makes of a request: an array is read by position.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Derived {
    comm_type: String,
    identifier: String,
}

fn edit(param: Param<'static>, by: impl FnOnce(&str) -> String) -> Param<'static> {
    match param {
        Param::Text(text) => by(&text).into(),
        other => other,
    }
}

/// The identifier by a wrong idea of what is blank and what is text.
fn misread_value(text: &str, honest: Param<'static>, slip: Slip) -> Param<'static> {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    match (slip, &body["identifier"]) {
        (Slip::NumbersMadeText, Value::Number(number)) => number.to_string().into(),
        (Slip::OnlyAsciiWhiteSpaceIsBlank, Value::String(text)) if !text.trim_ascii().is_empty() => {
            // The crate calls blank what is blank, whoever built it.
            if text.trim().is_empty() { "white space".into() } else { honest }
        }
        (Slip::ByteOrderMarksAreWhiteSpace, Value::String(text)) => blank_without(text, &['\u{feff}'], honest),
        (Slip::ZeroWidthSpacesAreWhiteSpace, Value::String(text)) => blank_without(text, &['\u{200b}'], honest),
        (Slip::VowelSeparatorsAreWhiteSpace, Value::String(text)) => blank_without(text, &['\u{180e}'], honest),
        (Slip::InformationSeparatorsAreWhiteSpace, Value::String(text)) => {
            blank_without(text, &['\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}'], honest)
        }
        (Slip::EmptyObjectIsPresent, Value::Object(_)) => Param::NotText,
        (Slip::ObjectsUnwrapped, Value::Object(fields)) => {
            fields.get("value").and_then(Value::as_str).map_or(honest, |text| text.to_owned().into())
        }
        (Slip::FalseIsBlank, Value::Bool(false)) => Param::Blank,
        (Slip::ArraysOfBlanksAreBlank, Value::Array(values)) if values.iter().all(is_blank_or_holds_blanks) => {
            Param::Blank
        }
        _ => honest,
    }
}

fn blank_without(text: &str, chars: &[char], honest: Param<'static>) -> Param<'static> {
    if text.trim_matches(chars).is_empty() { Param::Blank } else { honest }
}

fn is_blank_or_holds_blanks(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().all(is_blank_or_holds_blanks),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
