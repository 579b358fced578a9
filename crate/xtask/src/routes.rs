//! `cargo xtask routes`: what the router serves, read from the router itself.

use anyhow::Result;

use crate::command::{cargo, run};

/// Prints `METHOD /path` for each route.
pub fn print() -> Result<()> {
    run(cargo().args(["run", "--quiet", "--package", "hearth-api", "--example", "routes"]))
}
