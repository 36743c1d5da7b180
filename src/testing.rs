#![cfg_attr(
    all(feature = "arbitrary", feature = "conformance", feature = "proptest"),
    doc = include_str!("testing.md")
)]
#![cfg_attr(
    not(all(feature = "arbitrary", feature = "conformance", feature = "proptest")),
    doc = "How to test what you built on this crate. The page is whole with the features `arbitrary`, `conformance` and `proptest`."
)]
#![allow(clippy::test_attr_in_doctest, reason = "the page's examples are files of tests, which `.ci/pasted` runs")]

#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod choices;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod generate;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod history;
mod revealed;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod samples;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod situation;
#[cfg(feature = "proptest")]
pub mod strategies;

#[cfg(feature = "arbitrary")]
pub use arbitrary::{
    arbitrary_body, arbitrary_moment, arbitrary_near_identifiers, arbitrary_path, arbitrary_requests_of_two_people,
};
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
pub use history::{Action, Attempt, History, Step};
pub use revealed::{Reveal, Revealed, revealed};
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
pub use samples::edges;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
pub use situation::Situation;

/// A dictionary for fuzzers of code that reads requests, paths and stored sessions: the fields, values of every kind, and
/// identifiers that are easily taken for one. It is also a file of this crate, `src/testing/midsession.dict`.
#[cfg(feature = "arbitrary")]
pub const DICTIONARY: &str = include_str!("testing/midsession.dict");
