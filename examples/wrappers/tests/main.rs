//! Each wrapper and the client, held to the whole conformance kit and to what their frameworks get wrong by default.

mod client;
mod kit;
mod queue;
mod traps;
mod wire;
