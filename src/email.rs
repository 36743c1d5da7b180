//! E-mail addresses. The rule is HTML's for `<input type=email>`, with international domains as `validator` takes them, and
//! with address literals: a literal is the whole of the domain (*ours*).

use alloc::format;
use core::net::IpAddr;

use validator::ValidateEmail;

/// Whether `text` is an e-mail address at a host name. Such an address is ASCII and has no control characters.
///
/// This is `validator`'s rule, ten times as fast as its regular expressions, and it does not allocate.
pub(crate) fn is_plain_email(text: &str) -> bool {
    domain(text).is_some_and(is_plain_domain)
}

/// Whether `text` is an e-mail address at an address literal or an international domain.
pub(crate) fn is_special_email(text: &str) -> bool {
    domain(text).is_some_and(|domain| is_address_literal(domain) || is_international_domain(domain))
}

/// What stands after a valid user part and the `@`.
fn domain(text: &str) -> Option<&str> {
    let user = text.bytes().take_while(|byte| classes(*byte) & USER != 0).count();
    let domain = text.get(user..)?.strip_prefix('@')?;
    (1..=USER_MAX_BYTES).contains(&user).then_some(domain)
}

/// Whether `domain` is an IPv4 or IPv6 address in brackets, and nothing else.
fn is_address_literal(domain: &str) -> bool {
    let address = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<IpAddr>().is_ok())
}

/// Whether `domain` has characters beyond ASCII, and is a host name once these are encoded.
///
/// `validator` accepts any domain that ends in an address literal, also one that gets its brackets by the encoding. One more
/// label at the end rules that out, and changes nothing else.
fn is_international_domain(domain: &str) -> bool {
    !domain.is_ascii() && format!("a@{domain}.a").validate_email()
}

/// The limits of RFC 5321, as `validator` applies them.
const USER_MAX_BYTES: usize = 64;
const DOMAIN_MAX_BYTES: usize = 255;
/// The limit of RFC 1034.
const LABEL_MAX_BYTES: usize = 63;

/// Whether `domain` is a host name: labels of letters, digits and inner hyphens, separated by dots.
fn is_plain_domain(domain: &str) -> bool {
    let mut label = 0_usize;
    let mut former = DOT;
    for byte in domain.bytes() {
        let class = classes(byte);
        if class & ALPHANUMERIC != 0 || class & HYPHEN != 0 && former != DOT {
            label = label.saturating_add(1);
        } else if class & DOT != 0 && former & (DOT | HYPHEN) == 0 && label <= LABEL_MAX_BYTES {
            label = 0;
        } else {
            return false;
        }
        former = class & (DOT | HYPHEN);
    }
    domain.len() <= DOMAIN_MAX_BYTES && former == 0 && label <= LABEL_MAX_BYTES
}

/// A letter or a digit.
const ALPHANUMERIC: u8 = 1;
const HYPHEN: u8 = 2;
const DOT: u8 = 4;
/// Allowed before the `@`.
const USER: u8 = 8;

/// The classes of a byte, from a table, so that an address is validated in one pass.
fn classes(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let (mut byte, mut rest): (u8, &mut [u8]) = (0, &mut table);
    while let Some((entry, others)) = rest.split_first_mut() {
        *entry = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => ALPHANUMERIC | USER,
            b'-' => HYPHEN | USER,
            b'.' => DOT | USER,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~' => USER,
            _ => 0,
        };
        (byte, rest) = (byte.wrapping_add(1), others);
    }
    table
};

#[cfg(test)]
mod tests {
    use std::prelude::rust_2024::*;
    use std::{format, vec};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_rules_agree_at_every_length_limit() {
        for (user, label, labels) in
            [(64, 63, 1), (65, 63, 1), (1, 64, 1), (1, 63, 3), (64, 62, 4), (1, 63, 4), (0, 1, 1)]
        {
            let domain = vec!["d".repeat(label); labels].join(".");
            for domain in [domain.clone(), domain.clone() + ".d", domain + "."] {
                assert_same_verdict(&format!("{}@{domain}", "u".repeat(user)));
            }
        }
    }

    proptest! {
        // Miri is a thousand times slower.
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 1024 }))]

        #[test]
        fn both_rules_agree_on_near_misses(
            user in "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~@ \"-]{0,66}",
            at in "@?",
            domain in "(([a-zA-Z0-9_-]{0,64}|[a-c]{0,3}|xn--[a-z0-9]{0,4}|[é。ßا]{0,3})[.@]?){0,5}\n?",
        ) {
            assert_same_verdict(&format!("{user}{at}{domain}"));
        }

        #[test]
        fn both_rules_agree_on_any_text(text in ".*", user in ".{0,4}", domain in ".{0,8}") {
            assert_same_verdict(&text);
            assert_same_verdict(&format!("{user}@{domain}"));
        }

        #[test]
        fn both_rules_agree_on_addresses_with_one_byte_changed(at in 0..19_usize, byte in 0..=127_u8) {
            let address = "john-d@mail.exa.com".chars().enumerate();
            let text: String = address.map(|(place, letter)| if place == at { byte.into() } else { letter }).collect();
            assert_same_verdict(&text);
        }

        /// `validator` looks for a literal at the domain's end only, so that it takes more than the rule.
        #[test]
        fn no_address_is_accepted_that_validator_refuses(
            before in "([a-z<> .,]|［|\u{ad}){0,3}",
            literal in "\\[([0-9.]{1,9}|127\\.0\\.0\\.1|[0-9a-f:]{2,6}|::1)\\]",
            after in "([a-z ]|］|\u{ad}){0,2}",
        ) {
            let text = format!("a@{before}{literal}{after}");
            prop_assert!(!is_special_email(&text) || text.validate_email(), "{text:?}");
            prop_assert!(!is_special_email(&text) || before.is_empty() && after.is_empty(), "{text:?}");
        }
    }

    /// For text that has no bracket, as it is and as `validator` maps it: the two rules differ there, and only there.
    #[track_caller]
    fn assert_same_verdict(text: &str) {
        if !text.contains(['[', ']', '［', '］', '﹇', '﹈']) {
            assert_eq!(is_plain_email(text) || is_special_email(text), text.validate_email(), "{text:?}");
        }
    }
}
