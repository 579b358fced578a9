//! `cargo xtask bench`: figures of the app in a browser, on this machine, in one run.

use std::{collections::BTreeMap, fs};

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
    let out = target("bench.json");
    let mut bench = script("tests", "bench");
    // The runner's progress is for people: standard output carries the figures alone.
    bench.stdout(std::io::stderr());
    bench
        .env("HEARTH_APP", app::folder(app::Kind::Release)?)
        .env("HEARTH_NODE", target("release/hearth-node"))
        .env("HEARTH_WASM_RAW_BYTES", sizes.wasm_raw.to_string())
        .env("HEARTH_WASM_BROTLI_BYTES", sizes.wasm_brotli.to_string())
        .env("HEARTH_APP_BROTLI_BYTES", sizes.app_brotli.to_string())
        .env("HEARTH_BENCH_OUT", &out);
    run(browser::named(&mut bench))?;
    let figures = fs::read_to_string(&out)?;
    if json {
        println!("{figures}");
        return Ok(());
    }
    let figures: BTreeMap<String, f64> = serde_json::from_str(&figures)?;
    for (name, value) in figures {
        println!("{name:40} {value:>12}");
    }
    Ok(())
}
