//! `cargo xtask sim`: random episodes of many homeservers on a virtual network and clock.

use anyhow::Result;

use crate::command::{cargo, run};

/// Runs the episodes with `arguments`, which `crate/sim/examples/episodes.rs` knows.
pub fn episodes(arguments: &[String]) -> Result<()> {
    let mut episodes = cargo();
    episodes.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "hearth-sim",
        "--example",
        "episodes",
        "--",
    ]);
    run(episodes.args(arguments))
}
