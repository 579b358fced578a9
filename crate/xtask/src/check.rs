//! Formatting and lints, of Rust and TypeScript.

use anyhow::Result;

use crate::{
    command::{cargo, find, run},
    npm::{self, script},
};

/// Formats all code.
pub fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all"]))
}

/// Fails if Rust code is not formatted.
pub fn is_formatted() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))
}

/// Lints all code but what is compiled for wasm alone: Debian's compiler for wasm comes without clippy, and the compiler's own
/// lints hold when its tests are compiled.
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
