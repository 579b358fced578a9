//! See `src/authorisation.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_rooms_fuzz::authorisation::check(data));
