//! See `midsession_fuzz::laws::validate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midsession_fuzz::laws::validate(bytes));
