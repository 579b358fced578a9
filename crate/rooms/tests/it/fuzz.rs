//! The fuzz targets' seeds, each once, and some random bytes. `HEARTH_FUZZ_CASES` says how many.

#![allow(unreachable_pub, reason = "the checks are public in the crate that fuzzes")]

use std::{env, fs, path::Path};

use proptest::prelude::*;

#[path = "../../fuzz/src/authorisation.rs"]
mod authorisation;
#[path = "../../fuzz/src/events.rs"]
pub(crate) mod events;
#[path = "../../fuzz/src/pdu.rs"]
mod pdu;
#[path = "../../fuzz/src/resolution.rs"]
mod resolution;
#[path = "../../fuzz/src/state_tree.rs"]
mod state_tree;

/// Runs `check` on every seed of `target`.
fn run_seeds(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let seeds: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert!(!seeds.is_empty(), "{target} has seeds");
    for seed in seeds {
        check(&fs::read(seed.unwrap().path()).unwrap());
    }
}

#[test]
fn seeds_of_pdus_hold() {
    run_seeds("pdu", pdu::check);
}

#[test]
fn seeds_of_authorisation_hold() {
    run_seeds("authorisation", authorisation::check);
}

#[test]
fn seeds_of_resolution_hold() {
    run_seeds("resolution", resolution::check);
}

#[test]
fn seeds_of_state_trees_hold() {
    run_seeds("state_tree", state_tree::check);
}

/// How many random inputs each target is given.
fn cases() -> ProptestConfig {
    let cases = env::var("HEARTH_FUZZ_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(64))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_authorised_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        authorisation::check(&bytes);
    }

    #[test]
    fn any_bytes_are_resolved(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        resolution::check(&bytes);
    }

    #[test]
    fn any_bytes_change_a_tree(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        state_tree::check(&bytes);
    }
}
