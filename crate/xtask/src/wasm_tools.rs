//! wasm-bindgen's command line and test runner, at exactly the version in Cargo.lock.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    command::{cargo, command, find, output, run, target},
    config,
};

/// The wasm-bindgen command.
pub const BINDGEN: &str = "wasm-bindgen";
/// The runner of wasm-bindgen tests.
pub const TEST_RUNNER: &str = "wasm-bindgen-test-runner";

/// Makes sure that both programs are there.
pub fn ensure() -> Result<()> {
    if path(BINDGEN).is_ok() && path(TEST_RUNNER).is_ok() {
        return Ok(());
    }
    run(cargo()
        .args([
            "install",
            "wasm-bindgen-cli",
            "--force",
            "--version",
            &version()?,
            "--root",
        ])
        .arg(target("tools"))
        // They run for seconds, and take minutes to compile; TLS is for drivers that are not on this machine.
        .arg("--no-default-features")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_TARGET_DIR", target("tools/build")))
}

/// Where `program` is, at the right version.
pub fn path(program: &str) -> Result<PathBuf> {
    let version = version()?;
    let ours = target("tools/bin").join(program);
    let candidates = [Some(ours), find(program)];
    let found = candidates
        .into_iter()
        .flatten()
        .find(|path| is_version(path, &version));
    found.ok_or_else(|| anyhow::anyhow!("{program} {version} is missing: run `cargo xtask setup`"))
}

fn is_version(path: &PathBuf, version: &str) -> bool {
    output(command(path).arg("--version")).is_some_and(|text| text.split_whitespace().nth(1) == Some(version))
}

fn version() -> Result<String> {
    let configured = config::read()?.tools.wasm_bindgen;
    if configured == "lock" {
        config::locked_version(BINDGEN)
    } else {
        Ok(configured)
    }
}
