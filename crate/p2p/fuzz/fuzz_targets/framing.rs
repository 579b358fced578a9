//! See `src/framing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_p2p_fuzz::framing::check(data));
