//! The web app: the wasm module with its bindings, the client, the service worker.

use std::{fs, io::stderr, path::PathBuf};

use anyhow::Result;

use crate::{
    command::{command, run, target},
    config,
    npm::{program, script},
    wasm_target::{TARGET, cargo_wasm},
    wasm_tools::{self, BINDGEN},
};

/// What the app is built for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    Release,
    /// End-to-end tests: the same module and client; the worker obeys commands that make it fail.
    Test,
}

/// Where the app of `kind` is built.
pub fn folder(kind: Kind) -> Result<PathBuf> {
    let app = config::read()?.build.app;
    Ok(match kind {
        Kind::Release => target(&app),
        Kind::Test => target(&format!("{app}-test")),
    })
}

/// Builds the app of `kind`.
pub fn build(kind: Kind) -> Result<()> {
    let bindings = build_module()?;
    let out = folder(kind)?;
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    // What the builders say is for people: standard output carries figures.
    run(script("www", "build")
        .env("HEARTH_OUT_DIR", &out)
        .stdout(stderr()))?;
    run(script("service-worker", "build")
        .stdout(stderr())
        .env("HEARTH_OUT_DIR", &out)
        .env("HEARTH_WASM_DIR", bindings)
        .env("HEARTH_TEST_HOOKS", if kind == Kind::Test { "1" } else { "" }))
}

/// Compiles the module, makes its bindings and optimises it. The folder of the result.
fn build_module() -> Result<PathBuf> {
    let build = config::read()?.build;
    run(cargo_wasm("build")?.args(["--package", &build.package, "--profile", &build.profile, "--lib"]))?;
    let name = build.package.replace('-', "_");
    let module = target("wasm")
        .join(TARGET)
        .join(&build.profile)
        .join(format!("{name}.wasm"));
    let bindings = target(&build.bindings);
    let optimised = bindings.join(format!("{name}_bg.wasm"));
    if is_newer(&optimised, &module) {
        return Ok(bindings);
    }
    if bindings.exists() {
        fs::remove_dir_all(&bindings)?;
    }
    let raw = target("bindings-raw");
    run(command(wasm_tools::path(BINDGEN)?)
        .args(["--target", "no-modules", "--out-name", &name, "--out-dir"])
        .arg(&raw)
        .arg(&module))?;
    fs::create_dir_all(&bindings)?;
    for entry in fs::read_dir(&raw)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().ends_with(".wasm") {
            fs::copy(entry.path(), bindings.join(entry.file_name()))?;
        }
    }
    // Written last: an interrupted build leaves no module that looks finished.
    let unfinished = bindings.join("unfinished");
    run(command(program("service-worker", "wasm-opt"))
        .args(&build.wasm_opt)
        .arg(raw.join(format!("{name}_bg.wasm")))
        .arg("-o")
        .arg(&unfinished))?;
    fs::rename(unfinished, optimised)?;
    Ok(bindings)
}

fn is_newer(path: &PathBuf, than: &PathBuf) -> bool {
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    matches!((modified(path), modified(than)), (Some(path), Some(than)) if path > than)
}
