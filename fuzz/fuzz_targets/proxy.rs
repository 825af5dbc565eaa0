//! See `src/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chrome_sockets::fuzzing::proxy(bytes));
