//! The web app: the wasm module with its bindings, the client, the service worker.

use std::{
    fs,
    io::stderr,
    path::{Path, PathBuf},
};

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
    let build = config::read()?.build;
    let bindings = build_module(&build, &build.package, &target(&build.bindings))?;
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

/// Builds what measures the room engine in a browser, as the module of the app is built. The folder of the result.
pub fn build_bench() -> Result<PathBuf> {
    build_module(&config::read()?.build, "hearth-bench", &target("bench-bindings"))
}

/// Compiles `package`, makes its bindings and optimises it. The folder of the result, which is `bindings`.
fn build_module(build: &config::Build, package: &str, bindings: &Path) -> Result<PathBuf> {
    run(cargo_wasm("build")?.args(["--package", package, "--profile", &build.profile, "--lib"]))?;
    let name = package.replace('-', "_");
    let module = target("wasm")
        .join(TARGET)
        .join(&build.profile)
        .join(format!("{name}.wasm"));
    let optimised = bindings.join(format!("{name}_bg.wasm"));
    if is_newer(&optimised, &module) {
        return Ok(bindings.to_owned());
    }
    if bindings.exists() {
        fs::remove_dir_all(bindings)?;
    }
    let raw = bindings.with_extension("raw");
    run(command(wasm_tools::path(BINDGEN)?)
        .args(["--target", "no-modules", "--out-name", &name, "--out-dir"])
        .arg(&raw)
        .arg(&module))?;
    fs::create_dir_all(bindings)?;
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
    Ok(bindings.to_owned())
}

fn is_newer(path: &PathBuf, than: &PathBuf) -> bool {
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    matches!((modified(path), modified(than)), (Some(path), Some(than)) if path > than)
}
