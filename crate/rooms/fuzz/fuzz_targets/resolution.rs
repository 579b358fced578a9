//! See `src/resolution.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_rooms_fuzz::resolution::check(data));
