#![cfg_attr(
    all(feature = "arbitrary", feature = "conformance", feature = "proptest"),
    doc = include_str!("testing.md")
)]
#![cfg_attr(
    not(all(feature = "arbitrary", feature = "conformance", feature = "proptest")),
    doc = "How to test what you built on this crate. The page is whole with the features `arbitrary`, `conformance` and `proptest`."
)]

#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
mod samples;
#[cfg(feature = "proptest")]
pub mod strategies;

#[cfg(feature = "arbitrary")]
pub use arbitrary::arbitrary_moment;
