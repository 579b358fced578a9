//! Installs what is missing, and nothing that is there.

use anyhow::Result;

use crate::{browser, npm, wasm_target, wasm_tools};

/// What every command may need.
pub fn everything() -> Result<()> {
    for_build()?;
    for_tests()
}

/// What building the app needs.
pub fn for_build() -> Result<()> {
    wasm_target::ensure()?;
    wasm_tools::ensure()?;
    npm::ensure("service-worker")?;
    npm::ensure("www")
}

/// What tests need beyond that.
pub fn for_tests() -> Result<()> {
    npm::ensure("tests")?;
    browser::ensure()
}
