//! Formatting and lints, of Rust and TypeScript.

use anyhow::Result;

use crate::{
    command::{cargo, find, run},
    npm::{self, script},
    wasm_target::cargo_wasm,
};

/// Formats all code.
pub fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all"]))
}

/// Fails if Rust code is not formatted.
pub fn is_formatted() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))
}

/// Lints all code.
pub fn lint() -> Result<()> {
    run(cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    // Debian's compiler for wasm comes without clippy: there the compiler's own lints must do.
    run(cargo_wasm("check")?.args(["--quiet", "--package", "hearth-worker"]))?;
    dependencies()?;
    for folder in npm::FOLDERS {
        npm::ensure(folder)?;
        run(&mut script(folder, "typecheck"))?;
        run(&mut script(folder, "lint"))?;
    }
    Ok(())
}

/// Checks licences and sources of the dependencies, where cargo-deny is installed: it takes longer to build than
/// all of this project.
fn dependencies() -> Result<()> {
    if find("cargo-deny").is_none() {
        eprintln!("skipped: licences and sources (cargo install cargo-deny)");
        return Ok(());
    }
    run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))
}
