//! A compiler that can build for wasm32-unknown-unknown.
//!
//! rustup's target where it can be downloaded. Otherwise Debian's compiler, whose standard library is built from
//! source once and put where that compiler looks for it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    command::{apt_install, cargo, command, find, output, run, target},
    config,
};

/// The name of the target.
pub const TARGET: &str = "wasm32-unknown-unknown";
const LIBRARY: &str = "/usr/lib/rustlib/wasm32-unknown-unknown/lib";
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// Makes sure that [`cargo_wasm`] works.
pub fn ensure() -> Result<()> {
    if rustup_has_target() || debian_has_target() || add_by_rustup() {
        return Ok(());
    }
    add_by_debian().context(
        "no compiler for wasm32-unknown-unknown: `rustup target add wasm32-unknown-unknown` did not work, and \
         neither did Debian's packages",
    )
}

/// Cargo, set to build for wasm into a target folder of its own, so that native builds are not evicted.
pub fn cargo_wasm(subcommand: &str) -> Result<Command> {
    let mut cargo = if rustup_has_target() {
        cargo()
    } else {
        let mut debian = command(CARGO);
        debian
            .env("RUSTC", RUSTC)
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                config::read()?.tools.debian_linker,
            )
            .env_remove("RUSTUP_TOOLCHAIN");
        debian
    };
    cargo
        .arg(subcommand)
        .args(["--target", TARGET])
        .env("CARGO_TARGET_DIR", target("wasm"));
    Ok(cargo)
}

fn rustup_has_target() -> bool {
    let sysroot = output(command("rustc").args(["--print", "sysroot"]));
    sysroot.is_some_and(|path| {
        has_library(
            &Path::new(path.trim())
                .join("lib/rustlib")
                .join(TARGET)
                .join("lib"),
        )
    })
}

fn debian_has_target() -> bool {
    has_library(Path::new(LIBRARY)) && Path::new(RUSTC).exists() && Path::new(CARGO).exists()
}

fn has_library(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

fn add_by_rustup() -> bool {
    find("rustup").is_some() && run(command("rustup").args(["target", "add", TARGET])).is_ok()
}

fn add_by_debian() -> Result<()> {
    let tools = config::read()?.tools;
    if find(&tools.debian_linker).is_none() || !Path::new(CARGO).exists() {
        apt_install(&tools.debian_packages)?;
    }
    let folder = target("wasm-std");
    build_standard_library(&folder, &tools.debian_linker)?;
    install_libraries(&folder.join("out").join(TARGET).join("release/deps"))
}

/// Builds an empty crate together with the standard library's source.
fn build_standard_library(folder: &Path, linker: &str) -> Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    let manifest = "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/lib.rs"), "")?;
    run(command(CARGO)
        .current_dir(folder)
        .args([
            "build",
            "--release",
            "-Zbuild-std=std,panic_abort,test",
            "--target",
            TARGET,
        ])
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder.join("out"))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .env_remove("RUSTUP_TOOLCHAIN"))
}

fn install_libraries(built: &Path) -> Result<()> {
    fs::create_dir_all(LIBRARY).with_context(|| format!("cannot make {LIBRARY}"))?;
    let mut copied = 0;
    for entry in fs::read_dir(built)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.starts_with("libprobe-") {
            fs::copy(built.join(&name), Path::new(LIBRARY).join(&name))?;
            copied += 1;
        }
    }
    if copied == 0 {
        bail!(
            "building the standard library left no libraries in {}",
            built.display()
        );
    }
    Ok(())
}
