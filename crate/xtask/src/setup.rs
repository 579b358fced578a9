//! Installs what is missing, and nothing that is there.

use std::thread;

use anyhow::{Result, anyhow};

use crate::{browser, npm, wasm_target, wasm_tools};

/// What every command may need.
pub fn everything() -> Result<()> {
    install(|| for_app().and_then(|()| for_tests()))
}

/// What building the app needs.
pub fn for_build() -> Result<()> {
    install(for_app)
}

/// Compiles the tools for wasm, which takes minutes, while `download` waits for the network.
fn install(download: impl FnOnce() -> Result<()>) -> Result<()> {
    wasm_target::ensure()?;
    thread::scope(|scope| {
        let tools = scope.spawn(wasm_tools::ensure);
        download()?;
        tools
            .join()
            .map_err(|_| anyhow!("compiling the tools for wasm panicked"))?
    })
}

fn for_app() -> Result<()> {
    npm::ensure("service-worker")?;
    npm::ensure("www")
}

fn for_tests() -> Result<()> {
    npm::ensure("tests")?;
    browser::ensure()
}
