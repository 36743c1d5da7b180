//! Each wrapper, held to the whole conformance kit and to what its framework gets wrong by default.

mod kit;
mod queue;
mod traps;
mod wire;
