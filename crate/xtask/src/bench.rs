//! `cargo xtask bench`: figures of the room engine and of the app in a browser, on this machine.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    app, browser,
    command::{cargo, command, output, run, target},
    npm::script,
    setup, size, synapse,
};

/// A part of the figures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The room engine: natively in memory and on redb, and in Chromium on IndexedDB
    Rooms,
    /// The app in Chromium
    App,
    /// The Client-Server API natively and in Chromium, beside Synapse where it can be installed
    Api,
}

type Figures = BTreeMap<String, f64>;

/// Builds for release and measures `parts`; all of them if none is named.
pub fn measure(parts: &[Part], json: bool) -> Result<()> {
    let chosen = if parts.is_empty() {
        Part::value_variants()
    } else {
        parts
    };
    let mut figures = Figures::new();
    for part in chosen {
        figures.extend(match part {
            Part::Rooms => rooms()?,
            Part::App => app()?,
            Part::Api => api()?,
        });
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    for (name, value) in figures {
        println!("{name:60} {value:>12}");
    }
    Ok(())
}

fn rooms() -> Result<Figures> {
    run(cargo().args(["build", "--quiet", "--release", "--package", "hearth-bench"]))?;
    let native = output(&mut command(target("release/hearth-bench"))).context("hearth-bench failed")?;
    let mut figures: Figures = serde_json::from_str(&native)?;
    setup::everything()?;
    figures.extend(in_browser("rooms", |bench| {
        bench.env("HEARTH_BENCH_MODULE", app::build_bench()?);
        Ok(())
    })?);
    Ok(figures)
}

fn app() -> Result<Figures> {
    setup::everything()?;
    app::build(app::Kind::Release)?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "hearth-node"]))?;
    let large_room = ["--package", "hearth-bench", "--example", "large_room"];
    run(cargo().args(["build", "--quiet", "--release"]).args(large_room))?;
    let sizes = size::measure(app::Kind::Release)?;
    in_browser("app", |bench| {
        bench
            .env("HEARTH_APP", app::folder(app::Kind::Release)?)
            .env("HEARTH_NODE", target("release/hearth-node"))
            .env("HEARTH_LARGE_ROOM", target("release/examples/large_room"))
            .env("HEARTH_WASM_RAW_BYTES", sizes.wasm_raw.to_string())
            .env("HEARTH_WASM_BROTLI_BYTES", sizes.wasm_brotli.to_string())
            .env("HEARTH_APP_BROTLI_BYTES", sizes.app_brotli.to_string());
        Ok(())
    })
}

fn api() -> Result<Figures> {
    setup::everything()?;
    app::build(app::Kind::Release)?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "hearth-node"]))?;
    in_browser("api", |bench| {
        bench
            .env("HEARTH_APP", app::folder(app::Kind::Release)?)
            .env("HEARTH_NODE", target("release/hearth-node"));
        match synapse::python() {
            Ok(python) => bench.env("HEARTH_SYNAPSE_PYTHON", python),
            Err(error) => {
                eprintln!("SKIPPED: Synapse cannot be installed here: {error:#}");
                bench
            }
        };
        Ok(())
    })
}

/// Runs `tests/bench/{name}.bench.ts` in the environment that `prepare` sets up.
fn in_browser(name: &str, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Figures> {
    let out = target(&format!("bench-{name}.json"));
    let mut bench = script("tests", "bench");
    // The runner's progress is for people: standard output carries the figures alone.
    bench
        .args(["--", &format!("{name}.bench")])
        .env("HEARTH_BENCH_OUT", &out)
        .stdout(std::io::stderr());
    prepare(&mut bench)?;
    run(browser::named(&mut bench))?;
    Ok(serde_json::from_str(&fs::read_to_string(&out)?)?)
}
