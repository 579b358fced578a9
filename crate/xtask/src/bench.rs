//! `cargo xtask bench`: figures of the app in a browser, on this machine, in one run.

use anyhow::Result;

use crate::{
    app, browser,
    command::{cargo, run, target},
    npm::script,
    setup, size,
};

/// Builds for release and measures in Chromium.
pub fn measure(json: bool) -> Result<()> {
    setup::everything()?;
    app::build(app::Kind::Release)?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "hearth-node"]))?;
    let sizes = size::measure()?;
    let mut bench = script("tests", "bench");
    bench
        .env("HEARTH_APP", app::folder(app::Kind::Release)?)
        .env("HEARTH_NODE", target("release/hearth-node"))
        .env("HEARTH_WASM_RAW_BYTES", sizes.wasm_raw.to_string())
        .env("HEARTH_WASM_BROTLI_BYTES", sizes.wasm_brotli.to_string())
        .env("HEARTH_APP_BROTLI_BYTES", sizes.app_brotli.to_string())
        .env("HEARTH_BENCH_JSON", if json { "1" } else { "" });
    if let Some(path) = browser::executable() {
        bench.env("CHROMIUM", path);
    }
    run(&mut bench)
}
