//! From method and path to what is asked for, with switches for what routers get wrong.

use midsession::testing::conformance::Case;
use midsession::{Endpoint, LinkRequest, Param};

use super::Slip;

const BASE: &str = "/apps/api/v1/";
const END: &str = "/end_user";

pub struct Route {
    pub comm_type: Param<'static>,
    pub session_id: String,
}

/// What the request asks for, or the status by which it is refused.
pub fn route(case: &Case, slip: Option<Slip>) -> Result<Route, u16> {
    if slip == Some(Slip::LongSegmentsCrash) && case.path.split('/').any(|segment| segment.len() > 255) {
        return Err(500);
    }
    if slip == Some(Slip::QueryRefused) && case.query.is_some() {
        return Err(404);
    }
    let path = slip.map_or_else(|| case.path.clone(), |slip| rewritten(&case.path, slip));
    let loose = slip.and_then(|slip| loosely(&path, slip));
    let route = loose.or_else(|| strictly(&path)).ok_or(404_u16)?;
    let is_taken = match slip {
        Some(Slip::AnyMethodTaken) => true,
        Some(Slip::PutTaken) => ["POST", "PUT", "PATCH"].contains(&case.method.as_str()),
        Some(Slip::GetTaken) => ["POST", "GET"].contains(&case.method.as_str()),
        Some(Slip::HeadTaken) => ["POST", "HEAD"].contains(&case.method.as_str()),
        Some(Slip::OptionsTaken) => ["POST", "OPTIONS"].contains(&case.method.as_str()),
        Some(Slip::TraceTaken) => ["POST", "TRACE"].contains(&case.method.as_str()),
        Some(Slip::UnknownMethodsTaken) => ["POST", "BREW"].contains(&case.method.as_str()),
        Some(Slip::LinkTaken) => ["POST", "LINK"].contains(&case.method.as_str()),
        Some(Slip::QueryTaken) => ["POST", "QUERY"].contains(&case.method.as_str()),
        Some(Slip::MergeTaken) => ["POST", "MERGE"].contains(&case.method.as_str()),
        Some(Slip::MethodInTheBodyTaken) => {
            case.method == "POST" || String::from_utf8_lossy(&case.body).contains("\"_method\":\"POST\"")
        }
        Some(Slip::MethodInAnyCase) => case.method.eq_ignore_ascii_case("POST"),
        Some(Slip::MethodOverrideTaken) => {
            let header = case.headers().into_iter().find(|(name, _)| *name == "x-http-method-override");
            header.map_or(case.method.as_str(), |(_, method)| method) == "POST"
        }
        Some(Slip::MethodInTheQueryTaken) => {
            let query = case.query.as_deref().unwrap_or_default();
            case.method == "POST" || query.split('&').any(|pair| pair.eq_ignore_ascii_case("_method=POST"))
        }
        _ => case.method == "POST",
    };
    if is_taken { Ok(route) } else { Err(405) }
}

/// Whether the path's comm type is longer than some columns and routers take.
pub fn has_a_long_comm_type(case: &Case) -> bool {
    case.path.trim_start_matches('/').split('/').nth(3).is_some_and(|segment| segment.len() >= 64)
}

/// Whether the store takes the id of the path for the case's.
pub fn is_stored_under(case: &Case, session_id: &str, slip: Option<Slip>) -> bool {
    let number = |id: &str| id.split(|char: char| !char.is_ascii_digit()).next().and_then(|id| id.parse::<u64>().ok());
    match slip {
        Some(Slip::SessionIdInAnyCase) => session_id.eq_ignore_ascii_case(case.session_id()),
        Some(Slip::SessionIdMadeANumber) if number(session_id).is_some() => {
            number(session_id) == number(case.session_id())
        }
        Some(Slip::IdsMatchedByLike) => matches(session_id, case.session_id(), '_'),
        Some(Slip::IdsMatchedByPattern) => matches(session_id, case.session_id(), '.'),
        Some(Slip::LongSessionIdCut) => session_id.get(..session_id.len().min(255)) == Some(case.session_id()),
        Some(Slip::SessionIdCutAtItsDot) if !session_id.starts_with('.') => {
            session_id.split('.').next() == case.session_id().split('.').next()
        }
        _ => session_id == case.session_id(),
    }
}

/// Whether the pattern matches the id: `any` stands for any one character.
fn matches(pattern: &str, id: &str, any: char) -> bool {
    pattern.len() == id.len()
        && pattern.chars().zip(id.chars()).all(|(pattern, char)| pattern == any || pattern == char)
}

/// What the path says of the comm type, as a param.
fn comm_type_of(endpoint: &Endpoint<'_>) -> Param<'static> {
    LinkRequest::default().with_endpoint(endpoint).comm_type.into_owned()
}

fn strictly(path: &str) -> Option<Route> {
    let endpoint = Endpoint::parse(path)?;
    Some(Route { comm_type: comm_type_of(&endpoint), session_id: endpoint.session_id().to_owned() })
}

/// The path as a server in front, or a lenient router, makes it before it is judged.
fn rewritten(path: &str, slip: Slip) -> String {
    match slip {
        Slip::TrailingSlashTaken => path.trim_end_matches('/').to_owned(),
        Slip::SlashesFolded => path.replace("///", "/").replace("//", "/"),
        Slip::DotSegmentsResolved => {
            let mut segments = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "." => {}
                    ".." => drop(segments.pop()),
                    _ => segments.push(segment),
                }
            }
            segments.join("/")
        }
        Slip::PathPercentDecoded => decoded(path),
        Slip::SegmentPercentDecoded => {
            let parts: Vec<_> = path.splitn(6, '/').map(decoded).collect();
            if path.starts_with(BASE) && parts.len() == 6 { parts.join("/") } else { path.to_owned() }
        }
        Slip::MoreAfterTheEndTaken => path.rfind(END).map_or(path, |at| path.split_at(at + END.len()).0).to_owned(),
        Slip::MoreBeforeTheBaseTaken => path.rfind(BASE).map_or(path, |at| path.split_at(at).1).to_owned(),
        Slip::AnyVersionTaken => path.replace("/api/v2/", "/api/v1/"),
        Slip::FormatTaken => path.trim_end_matches(".json").to_owned(),
        Slip::PathInAnyCase => {
            let lower = path.to_lowercase();
            let inner = lower.strip_prefix(BASE).and_then(|rest| rest.strip_suffix(END));
            // The id keeps its case.
            let inner = inner.and_then(|inner| path.get(BASE.len()..BASE.len() + inner.len()));
            inner.map_or_else(|| path.to_owned(), |inner| format!("{BASE}{inner}{END}"))
        }
        Slip::PathParametersCut => {
            path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
        }
        Slip::CommTypeByItsPrefix => {
            let mut segments: Vec<_> = path.split('/').collect();
            for whole in ["chats", "calls"] {
                segments.iter_mut().filter(|segment| segment.starts_with(whole)).for_each(|segment| *segment = whole);
            }
            segments.join("/")
        }
        Slip::EndByItsPrefix => path.strip_suffix('x').unwrap_or(path).to_owned(),
        Slip::SingularSegmentsTaken => path.replace("/call/", "/calls/").replace("/chat/", "/chats/"),
        _ => path.to_owned(),
    }
}

/// A route whose session id is none.
fn loosely(path: &str, slip: Slip) -> Option<Route> {
    let (segment, rest) = path.strip_prefix(BASE)?.split_once('/')?;
    let session_id = rest.strip_suffix(END)?;
    let session_id = match slip {
        Slip::AnySessionIdTaken if !session_id.contains('/') && session_id.len() <= 255 => session_id.to_owned(),
        Slip::SubDelimitersTaken if session_id.contains(['!', '$', '&', '\'', '=', ';', '(']) => session_id.to_owned(),
        Slip::LongSessionIdTaken | Slip::LongSessionIdCut if session_id.len() > 255 => session_id.to_owned(),
        Slip::EmptySessionIdTaken if session_id.is_empty() => String::new(),
        Slip::SessionIdPercentDecoded if !session_id.contains('/') => decoded(session_id),
        _ => return None,
    };
    let comm_type = comm_type_of(&Endpoint::parse(&format!("{BASE}{segment}/x{END}"))?);
    Some(Route { comm_type, session_id })
}

pub fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
