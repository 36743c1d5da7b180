//! Where a transport takes fields from, when it is not the JSON body alone.

use midsession::testing::conformance::Case;
use midsession::{LinkRequest, Param};
use serde_json::Value;

use super::Slip;

/// The status by which a body of another content type is refused.
pub fn refused_by_its_type(case: &Case, slip: Option<Slip>) -> Result<(), u16> {
    let content_type = header(case, "content-type").unwrap_or_default().to_lowercase();
    let is_json = content_type.split(';').next() == Some("application/json");
    match slip {
        Some(Slip::OtherContentTypesCrash) if !is_json => Err(500),
        Some(Slip::CharacterSetRefused) if content_type.contains(';') => Err(415),
        Some(Slip::CharacterSetInCapitalsRefused)
            if header(case, "content-type").is_some_and(|it| it.contains("UTF")) =>
        {
            Err(415)
        }
        Some(Slip::FormsTakenByTheirType) if is_form(case) => Ok(()),
        _ if is_json => Ok(()),
        _ => Err(415),
    }
}

pub fn is_form(case: &Case) -> bool {
    header(case, "content-type").is_some_and(|content_type| content_type.ends_with("urlencoded"))
}

/// The body as the declared character set has it; none if that is UTF-8 or unknown.
pub fn decoded_by_its_character_set(case: &Case) -> Option<String> {
    let units = || case.body.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match header(case, "content-type")?.split_once("charset=")?.1 {
        "iso-8859-1" | "windows-1252" => Some(case.body.iter().map(|byte| char::from(*byte)).collect()),
        "utf-16le" => String::from_utf16(&units().collect::<Vec<_>>()).ok(),
        _ => None,
    }
}

/// The request with fields from elsewhere.
pub fn misread(case: &Case, request: LinkRequest<'static>, slip: Slip) -> LinkRequest<'static> {
    let query = || pairs(case.query.as_deref().unwrap_or_default(), '&');
    let mut request = request;
    match slip {
        Slip::QueryStandsOverTheBody => query().iter().for_each(|(field, text)| set(&mut request, field, text)),
        Slip::QueryFillsWhatTheBodyLacks => fill(&mut request, &query()),
        Slip::QueryByIndexFillsWhatTheBodyLacks => {
            let inner = |name: &str| Some(name.strip_prefix("end_user[")?.strip_suffix(']')?.to_owned());
            let named = query().into_iter().filter_map(|(name, text)| Some((inner(&name)?, text)));
            fill(&mut request, &named.collect::<Vec<_>>());
        }
        Slip::FromIsTheEmail => {
            let from = header(case, "from").map(|from| ("email".to_owned(), from.to_owned()));
            fill(&mut request, &from.into_iter().collect::<Vec<_>>());
        }
        Slip::OtherNamesOfTheIdentifierTaken => fill_by_other_names(&mut request, case, &[("user_id", "identifier")]),
        Slip::OtherNamesOfOptionalFieldsTaken => {
            let names = [("full_name", "name"), ("mail", "email"), ("phone_number", "phone")];
            fill_by_other_names(&mut request, case, &names);
        }
        Slip::CookieFillsWhatTheBodyLacks => {
            fill(&mut request, &pairs(header(case, "cookie").unwrap_or_default(), ';'));
        }
        Slip::WrappedFieldsTaken => fill_from(&mut request, case, "end_user"),
        Slip::PrototypesOfTheBodyTaken => fill_from(&mut request, case, "__proto__"),
        _ => {}
    }
    request
}

fn header<'c>(case: &'c Case, name: &str) -> Option<&'c str> {
    case.headers().into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

fn pairs(text: &str, separator: char) -> Vec<(String, String)> {
    let pairs = text.split(separator).filter_map(|pair| pair.trim().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn fill_from(request: &mut LinkRequest<'static>, case: &Case, key: &str) {
    let body: Value = serde_json::from_slice(&case.body).unwrap_or_default();
    let inner = body[key].as_object().into_iter().flatten();
    let texts = inner.filter_map(|(field, value)| Some((field.clone(), value.as_str()?.to_owned())));
    fill(request, &texts.collect::<Vec<_>>());
}

fn fill_by_other_names(request: &mut LinkRequest<'static>, case: &Case, names: &[(&str, &str)]) {
    let body: Value = serde_json::from_slice(&case.body).unwrap_or_default();
    let texts =
        names.iter().filter_map(|(other, field)| Some(((*field).to_owned(), body[*other].as_str()?.to_owned())));
    fill(request, &texts.collect::<Vec<_>>());
}

fn fill(request: &mut LinkRequest<'static>, pairs: &[(String, String)]) {
    for (field, text) in pairs {
        if param(request, field).is_some_and(|param| param.is_blank()) {
            set(request, field, text);
        }
    }
}

fn set(request: &mut LinkRequest<'static>, field: &str, text: &str) {
    if let Some(param) = param(request, field) {
        *param = text.to_owned().into();
    }
}

fn param<'r>(request: &'r mut LinkRequest<'static>, field: &str) -> Option<&'r mut Param<'static>> {
    match field {
        "identifier" => Some(&mut request.identifier),
        "name" => Some(&mut request.name),
        "email" => Some(&mut request.email),
        "phone" => Some(&mut request.phone),
        _ => None,
    }
}
