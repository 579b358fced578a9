//! `cargo xtask test`: every test, in the order in which failures are cheapest to see.

use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;

use crate::{
    app, browser, check,
    command::{cargo, find, run, target},
    config, npm,
    npm::script,
    schemathesis, setup, size, synapse,
    wasm_target::cargo_wasm,
    wasm_tools::{self, TEST_RUNNER},
};

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// rustfmt
    Format,
    /// clippy, ESLint, TypeScript
    Lint,
    /// Rust tests of this machine
    Native,
    /// Rust tests in a browser's service worker
    Wasm,
    /// Unit tests of the web client
    Web,
    /// Random rooms judged by Synapse too, where it can be installed
    Synapse,
    /// Whatever the specification's OpenAPI document lists, asked by schemathesis where it can be installed
    Schemathesis,
    /// Two browsers, a relay and a native homeserver
    E2e,
}

/// Sets up and runs `parts`; all of them if none is named.
pub fn all(parts: &[Part]) -> Result<()> {
    setup::everything()?;
    let is_chosen = |part: &Part| parts.is_empty() || parts.contains(part);
    thread::scope(|scope| {
        let mut app = None;
        for part in Part::value_variants().iter().filter(|part| is_chosen(part)) {
            // Optimising the module keeps one core busy for minutes, in which other parts leave one idle.
            if *part >= Part::Wasm && app.is_none() && is_chosen(&Part::E2e) {
                app = Some(scope.spawn(|| app::build(app::Kind::Test)));
            }
            announce(*part);
            if *part == Part::E2e
                && let Some(app) = app.take()
            {
                app.join().map_err(|_| anyhow!("building the app panicked"))??;
            }
            run_part(*part)?;
        }
        Ok(())
    })
}

fn announce(part: Part) {
    let value = part.to_possible_value();
    eprintln!("\n== {} ==", value.as_ref().map_or("", |value| value.get_name()));
}

fn run_part(part: Part) -> Result<()> {
    match part {
        Part::Format => check::is_formatted(),
        Part::Lint => check::lint(),
        Part::Native => run(cargo().args(["test", "--quiet", "--workspace"])),
        Part::Wasm => wasm(),
        Part::Web => web(),
        Part::Synapse => synapse::test(),
        Part::Schemathesis => schemathesis::test(),
        Part::E2e => end_to_end(),
    }
}

/// Runs the suites in `tests/` of the crates named in wasm-pack.toml.
fn wasm() -> Result<()> {
    let driver = find("chromedriver").context("chromedriver is missing")?;
    for package in config::read()?.test.packages {
        run(cargo_wasm("test")?
            .args(["--package", &package, "--tests"])
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
                wasm_tools::path(TEST_RUNNER)?,
            )
            .env("CHROMEDRIVER", &driver))?;
    }
    Ok(())
}

fn web() -> Result<()> {
    for folder in ["www", "service-worker"] {
        npm::ensure(folder)?;
        run(&mut script(folder, "test"))?;
    }
    Ok(())
}

/// Expects the app to be built. Compilers differ: another machine's module may be a little larger than the budget.
fn end_to_end() -> Result<()> {
    let sizes = size::measure(app::Kind::Test)?;
    eprintln!("{sizes}");
    sizes.check(2)?;
    run(cargo().args(["build", "--quiet", "--workspace", "--bins", "--examples"]))?;
    let mut tests = script("tests", "test");
    tests
        .env("HEARTH_APP", app::folder(app::Kind::Test)?)
        .env("HEARTH_NODE", target("debug/hearth-node"))
        .env("HEARTH_HOSTILE_PEER", target("debug/examples/hostile_peer"));
    run(browser::named(&mut tests))
}
