//! See `src/state_tree.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearth_rooms_fuzz::state_tree::check(data));
