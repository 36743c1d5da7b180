//! The messages that a user meets where a session's state does not allow what was written. That it does not compile is
//! shown by the examples in `src/typestate.md`, on every compiler. The words are those of one compiler: run
//! `.ci/run messages`.
