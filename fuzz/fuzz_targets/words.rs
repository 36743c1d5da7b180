//! See `midsession_fuzz::laws::words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midsession_fuzz::laws::words(bytes));
