//! See `src/pdu.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_rooms_fuzz::pdu::check(data));
