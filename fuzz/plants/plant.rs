//! Comparisons that take two texts for one. `.ci/plants` puts this module into a copy of the crate, and names the one to
//! use and its place in `MIDSESSION_PLANT`, such as `person:case`.

use std::prelude::rust_2024::*;
use std::sync::OnceLock;

use crate::end_user::EndUserFields;

type Comparison = fn(&str, &str) -> bool;

/// What each makes of the texts before it compares them.
const COMPARISONS: [(&str, Comparison); 31] = [
    ("case_of_ascii", |one, other| one.eq_ignore_ascii_case(other)),
    ("case", |one, other| one.to_lowercase() == other.to_lowercase()),
    ("case_that_changes_the_length", |one, other| fold(one) == fold(other)),
    ("trim", |one, other| one.trim() == other.trim()),
    ("trim_start", |one, other| one.trim_start() == other.trim_start()),
    ("trim_end", |one, other| one.trim_end() == other.trim_end()),
    ("trim_ascii", |one, other| one.trim_ascii() == other.trim_ascii()),
    ("spaces", |one, other| one.split_whitespace().eq(other.split_whitespace())),
    ("invisible", |one, other| one.replace('\u{200b}', "") == other.replace('\u{200b}', "")),
    ("composed", |one, other| one.replace("e\u{308}", "\u{eb}") == other.replace("e\u{308}", "\u{eb}")),
    ("width", |one, other| each(one, narrow) == each(other, narrow)),
    ("accents", |one, other| each(one, plain) == each(other, plain)),
    ("look_alikes", |one, other| one.replace('\u{430}', "a") == other.replace('\u{430}', "a")),
    ("look_alike_digits", |one, other| one.replace('O', "0") == other.replace('O', "0")),
    ("look_alike_letters", |one, other| one.replace('I', "l") == other.replace('I', "l")),
    ("digits_of_any_script", |one, other| each(one, digit) == each(other, digit)),
    ("leading_zeros", |one, other| one.trim_start_matches('0') == other.trim_start_matches('0')),
    ("leading_plus", |one, other| one.trim_start_matches('+') == other.trim_start_matches('+')),
    ("float", |one, other| one == other || number(one).is_some() && number(one) == number(other)),
    ("hexadecimal", |one, other| one.trim_start_matches("0x") == other.trim_start_matches("0x")),
    ("hyphens", |one, other| one.replace('-', "") == other.replace('-', "")),
    ("hyphens_of_any_kind", |one, other| one.replace('\u{2011}', "-") == other.replace('\u{2011}', "-")),
    ("punctuation", |one, other| one.replace('_', ".") == other.replace('_', ".")),
    ("any_order", |one, other| sorted(one) == sorted(other)),
    ("length", |one, other| one.len() == other.len()),
    ("prefix", |one, other| one.starts_with(other) || other.starts_with(one)),
    ("cut_at_16", |one, other| cut(one, 16) == cut(other, 16)),
    ("cut_at_36", |one, other| cut(one, 36) == cut(other, 36)),
    ("cut_at_64", |one, other| cut(one, 64) == cut(other, 64)),
    ("cut_at_128", |one, other| cut(one, 128) == cut(other, 128)),
    ("cut_at_254", |one, other| cut(one, 254) == cut(other, 254)),
];

pub(crate) fn same(place: &str, one: &str, other: &str) -> bool {
    planted(place).map_or_else(|| one == other, |comparison| comparison(one, other))
}

pub(crate) fn same_fields(one: EndUserFields<'_>, other: EndUserFields<'_>) -> bool {
    one.identifier == other.identifier
        && same("name", one.name, other.name)
        && same("email", one.email, other.email)
        && same("phone", one.phone, other.phone)
}

fn planted(place: &str) -> Option<Comparison> {
    static PLANT: OnceLock<(String, Option<Comparison>)> = OnceLock::new();
    let (planted_at, comparison) = PLANT.get_or_init(|| {
        let plant = std::env::var("MIDSESSION_PLANT").unwrap_or_default();
        let (place, name) = plant.split_once(':').unwrap_or_default();
        let comparison = COMPARISONS.iter().find(|(known, _)| *known == name).map(|(_, comparison)| *comparison);
        (place.to_owned(), comparison)
    });
    comparison.filter(|_| planted_at == place)
}

fn each(text: &str, change: fn(char) -> char) -> String {
    text.chars().map(change).collect()
}

fn fold(text: &str) -> String {
    text.to_lowercase().replace('ß', "ss")
}

fn narrow(character: char) -> char {
    let wide = ('\u{ff01}'..='\u{ff5e}').contains(&character);
    let narrow = u32::from(character).wrapping_sub(0xfee0);
    if wide { char::from_u32(narrow).unwrap_or(character) } else { character }
}

fn plain(character: char) -> char {
    if matches!(character, 'ë' | 'Ë' | 'é') { 'e' } else { character }
}

fn digit(character: char) -> char {
    let value = u32::from(character).wrapping_sub(0x660);
    char::from_digit(value, 10).unwrap_or(character)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
