//! All integration tests but the allocation counts, as modules of one binary: one link, and one place to share what they
//! have in common.
#![allow(clippy::unchecked_time_subtraction, reason = "a test may fail by panicking")]

mod laws;
mod model;
mod support;

mod answer;
mod api_shape;
mod conformance;
mod corpora;
mod decision_table;
mod delivered_twice;
mod duplicate_interval;
mod duplicate_policy;
mod email;
mod end_user;
mod endpoint;
mod erasure;
mod exhaustive;
mod generators;
mod histories;
mod link_error;
mod linking;
mod owned_request;
mod rails_require;
mod readme;
mod redaction;
mod request_body;
mod revealed;
mod same_bytes;
mod sent_request;
mod sequences;
mod store_kit;
mod stored_form;
mod typestate;
mod validate;
mod words;
