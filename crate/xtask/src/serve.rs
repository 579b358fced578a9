//! `cargo xtask serve`: the app and a relay on localhost.

use anyhow::Result;

use crate::{
    app,
    command::{cargo, run, target},
    setup,
};

/// Sets up, builds, and serves at `listen` until stopped.
pub fn start(listen: &str) -> Result<()> {
    setup::for_build()?;
    app::build(app::Kind::Release)?;
    run(cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "hearth-node",
            "--",
            "serve",
            "--listen",
            listen,
            "--static",
        ])
        .arg(app::folder(app::Kind::Release)?)
        .arg("--data")
        .arg(target("serve")))
}
