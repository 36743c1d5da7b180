//! The laws that the fuzz targets hold the crate to. They stand among its tests, which replay the corpora.
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::double_must_use,
    reason = "a law that is broken panics, and this is nobody's API"
)]

#[path = "../../tests/laws.rs"]
pub mod laws;
#[path = "../../tests/model.rs"]
mod model;
