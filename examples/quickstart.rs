//! The crate's main job on real input.

fn main() {}
