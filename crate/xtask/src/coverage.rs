//! `cargo xtask coverage`: how much of the Matrix API is served, and how much of that the tests visit.
//!
//! What is to be served is a list of endpoints, `endpoints.csv`, in `HEARTH_SPEC_DIR` or beside the project; it is not
//! part of it, so without the list there is nothing to count. What is served the router tells; what is tested is
//! what the tests of the API and of the simulated network were answered with success.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::command::{cargo, root, run, target};

/// Runs the tests and prints the counts of each tier, then what is missing.
pub fn print() -> Result<()> {
    let beside = root().join("../shared/spec");
    let list = env::var_os("HEARTH_SPEC_DIR")
        .map_or(beside, PathBuf::from)
        .join("endpoints.csv");
    if !list.is_file() {
        eprintln!(
            "SKIPPED: there is no {}; HEARTH_SPEC_DIR names its folder",
            list.display()
        );
        return Ok(());
    }
    let visits = target("visits.txt");
    fs::write(&visits, "").with_context(|| format!("could not write {}", visits.display()))?;
    run(cargo()
        .args([
            "test",
            "--quiet",
            "--package",
            "hearth-api",
            "--package",
            "hearth-sim",
        ])
        .env("HEARTH_VISITS", &visits))?;
    run(cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "hearth-api",
            "--example",
            "coverage",
        ])
        .args([&list, &visits]))
}
