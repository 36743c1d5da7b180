//! What e-mail addresses and phone numbers are taken for, when it is not what the contract says.

use midsession::testing::conformance::Case;
use midsession::{EndUserField, LinkError, LinkRequest};
use serde_json::Value;

use super::Slip;

/// The refusal of a field that the contract accepts.
pub fn refused(request: &LinkRequest<'_>, slip: Slip) -> Option<LinkError> {
    let email = || request.email.as_text();
    let local = || email()?.rsplit_once('@').map(|(local, _)| local);
    let domain = || email()?.rsplit_once('@').map(|(_, domain)| domain);
    let phone = || request.phone.as_text();
    let (field, is_refused) = match slip {
        Slip::EmailNeedsADot => (EndUserField::Email, !domain()?.contains('.')),
        Slip::EmailWithAnAddressRefused => (EndUserField::Email, domain()?.starts_with('[')),
        Slip::EmailOfAnotherScriptRefused => (EndUserField::Email, !domain()?.is_ascii()),
        Slip::EmailTopLevelOfDigitsRefused => {
            (EndUserField::Email, domain()?.rsplit('.').next()?.chars().all(|char| char.is_ascii_digit()))
        }
        Slip::EmailOfFewSigns => {
            let is_usual = |char: char| char.is_ascii_alphanumeric() || ".+_-".contains(char);
            (EndUserField::Email, !local()?.chars().all(is_usual))
        }
        Slip::EmailDotsWhereTheyBelong => (EndUserField::Email, local()?.split('.').any(str::is_empty)),
        Slip::EmailMappedAddressRefused => (EndUserField::Email, domain()?.starts_with("[::ffff:")),
        Slip::EmailPunycodeRefused => (EndUserField::Email, domain()?.starts_with("xn--")),
        Slip::EmailDomainOf200Refused => (EndUserField::Email, domain()?.chars().count() > 200),
        Slip::EmailInternationalLabelAloneRefused => {
            (EndUserField::Email, !domain()?.is_ascii() && !domain()?.contains('.'))
        }
        Slip::EmailLimitInBytes => (EndUserField::Email, email()?.len() > 254),
        Slip::PhoneLimitInUtf16 => (EndUserField::Phone, phone()?.encode_utf16().count() > 64),
        Slip::LineSeparatorsRefused => (EndUserField::Name, request.name.as_text()?.contains(['\u{2028}', '\u{2029}'])),
        Slip::PhoneDigitsAreAscii => (EndUserField::Phone, !phone()?.chars().any(|char| char.is_ascii_digit())),
        Slip::PhoneDigitsAreDecimal => {
            // Without tables: the kit's numerals that are no decimal digits.
            (EndUserField::Phone, phone()?.chars().all(|char| "Ⅷ²".contains(char)))
        }
        Slip::PhoneOfLettersRefused => (EndUserField::Phone, phone()?.chars().any(char::is_alphabetic)),
        _ => return None,
    };
    is_refused.then_some(LinkError::InvalidParam(field))
}

/// The refusal of a blank or an unacceptable field by a wrong order of the checks.
pub fn refused_by_kind(case: &Case, honest: Option<&LinkError>, slip: Slip) -> Option<LinkError> {
    let body: Value = serde_json::from_slice(&case.body).ok()?;
    let fields = || EndUserField::ALL.iter().map(|field| (*field, &body[field.as_str()]));
    let text = |is: &dyn Fn(EndUserField, &str) -> bool| {
        fields().find(|(field, value)| value.as_str().is_some_and(|text| is(*field, text))).map(|(field, _)| field)
    };
    let is_long = |field: EndUserField, text: &str| text.chars().count() > field.max_chars();
    let has_control = |_: EndUserField, text: &str| text.chars().any(char::is_control);
    let field = match slip {
        Slip::LengthBeforeBlank => text(&is_long),
        Slip::ControlCharactersBeforeBlank => text(&|field, text| text.trim().is_empty() && has_control(field, text)),
        _ if !matches!(honest, Some(LinkError::InvalidParam(_))) => None,
        _ => {
            let not_text = fields().find(|(_, value)| value.is_number() || value.is_boolean());
            text(&is_long).or_else(|| text(&has_control)).or(not_text.map(|(field, _)| field))
        }
    };
    field.map(LinkError::InvalidParam)
}

/// The request with fields that pass, where a slip takes those that the contract refuses.
pub fn made_acceptable(request: LinkRequest<'static>, slip: Slip) -> LinkRequest<'static> {
    let email = takes_email(request.email.as_text().unwrap_or_default(), slip);
    let phone = takes_phone(request.phone.as_text().unwrap_or_default(), slip);
    let mut request = request;
    if email {
        request.email = "johndoe@example.com".into();
    }
    if phone {
        request.phone = "123-456-7890".into();
    }
    let stripped: &[char] = match slip {
        Slip::NewlinesInOptionalFieldsTaken => &['\n', '\r'],
        Slip::DeleteTaken => &['\u{7f}'],
        Slip::C1ControlsInOptionalFieldsTaken => &['\u{85}', '\u{9f}'],
        _ => &[],
    };
    for param in [&mut request.name, &mut request.phone] {
        let cleared = param.as_text().filter(|text| text.contains(stripped)).map(|text| text.replace(stripped, ""));
        if let Some(text) = cleared {
            *param = text.into();
        }
    }
    if slip == Slip::C1ControlsTaken {
        let cleared =
            request.identifier.as_text().map(|text| text.replace(|char| ('\u{80}'..='\u{9f}').contains(&char), ""));
        request.identifier = cleared.map_or(request.identifier, Into::into);
    }
    request
}

fn takes_email(text: &str, slip: Slip) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let labels = || domain.split('.');
    match slip {
        Slip::EmailLoose => !local.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace),
        Slip::EmailWithTwoAtsTaken => local.contains('@'),
        Slip::EmailUnderscoreTaken => domain.contains('_'),
        Slip::EmailLongLabelTaken => labels().any(|label| label.len() > 63),
        Slip::EmailLongLocalPartTaken => local.len() > 64,
        Slip::EmailLongTaken => text.len() > 254,
        Slip::EmailHyphensTaken => labels().any(|label| label.starts_with('-') || label.ends_with('-')),
        Slip::EmailEmptyLabelTaken => labels().rev().skip(1).any(str::is_empty),
        Slip::EmailDotAtTheEndTaken => domain.ends_with('.'),
        Slip::EmailQuotesTaken => local.starts_with('"') && local.ends_with('"'),
        Slip::EmailLocalPartOfAnotherScriptTaken => !local.is_ascii(),
        Slip::EmailWithANameTaken => text.ends_with('>'),
        Slip::EmailZoneTaken => domain.contains('%'),
        Slip::EmailTagTaken => domain.starts_with("[IPv6:"),
        Slip::EmailLeadingZerosTaken => domain.contains(".01]"),
        Slip::EmailLiteralAtTheEndTaken => text.ends_with("[127.0.0.1]"),
        Slip::EmailInternationalLabelsCountedInCharacters => {
            !domain.is_ascii() && labels().all(|label| (1..=63).contains(&label.chars().count()))
        }
        Slip::EmailBareAddressTaken => domain.parse::<core::net::Ipv6Addr>().is_ok(),
        Slip::EmailInternationalEmptyLabelTaken => !domain.is_ascii() && labels().any(str::is_empty),
        Slip::EmailInternationalLongLabelTaken => !domain.is_ascii() && labels().any(|label| label.len() > 63),
        Slip::EmailInternationalUnderscoreTaken => !domain.is_ascii() && domain.contains('_'),
        Slip::EmailAnyLiteralTaken => domain.starts_with('['),
        _ => false,
    }
}

fn takes_phone(text: &str, slip: Slip) -> bool {
    match slip {
        Slip::PhoneWithoutDigitsTaken => !text.is_empty(),
        // Python's `isnumeric`.
        Slip::PhoneOfHanNumeralsTaken => text.contains(['一', '二', '三']),
        Slip::PhoneLongTaken => text.chars().count() > 64,
        _ => false,
    }
}
