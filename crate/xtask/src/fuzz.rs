//! `cargo xtask fuzz`: feeds the room engine with bytes that nobody thought of.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, find, root, run, target};

/// The version of cargo-fuzz that is installed where there is none.
const VERSION: &str = "0.13.2";
/// The longest input, in bytes: beyond the greatest event.
const MAX_INPUT: u32 = 70_000;

/// Runs the fuzz target `name`, or each in turn, for `seconds`. What is found lies in `crate/rooms/fuzz/artifacts`.
pub fn start(name: Option<&str>, seconds: u32) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<_> = all
        .iter()
        .filter(|target| name.is_none_or(|name| name == *target))
        .collect();
    if chosen.is_empty() {
        bail!("there are only these targets: {}", all.join(", "));
    }
    let program = ensure()?;
    for target in chosen {
        run_one(&program, target, seconds)?;
    }
    Ok(())
}

/// The targets: the names of the files in `fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(folder().join("fuzz_targets")).context("there are no fuzz targets")?;
    let mut names: Vec<_> = files
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// New inputs go to `corpus`, which is nobody's; the seeds are only read.
fn run_one(program: &PathBuf, target: &str, seconds: u32) -> Result<()> {
    let corpus = folder().join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    // Without a sanitizer the stable compiler is enough: the engine has no unsafe code to watch.
    run(command(program)
        .current_dir(folder().join(".."))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--sanitizer", "none", target])
        .arg(corpus)
        .arg(folder().join("seeds").join(target))
        .args([
            "--".to_owned(),
            format!("-max_total_time={seconds}"),
            format!("-max_len={MAX_INPUT}"),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
        ]))
}

fn folder() -> PathBuf {
    root().join("crate/rooms/fuzz")
}

/// cargo-fuzz, installed if it is missing.
fn ensure() -> Result<PathBuf> {
    let ours = target("tools/bin/cargo-fuzz");
    if let Some(found) = find("cargo-fuzz").or_else(|| Some(ours.clone()).filter(|path| path.is_file())) {
        return Ok(found);
    }
    run(cargo()
        .args([
            "install",
            "cargo-fuzz",
            "--locked",
            "--version",
            VERSION,
            "--root",
        ])
        .arg(target("tools"))
        .env("CARGO_TARGET_DIR", target("tools/build")))?;
    Ok(ours)
}
