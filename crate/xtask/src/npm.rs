//! The npm packages of `www/`, `service-worker/` and `tests/`.

use std::{fs, path::PathBuf, process::Command, time::SystemTime};

use anyhow::{Result, bail};

use crate::command::{command, find, root, run};

/// The folders with a package.json.
pub const FOLDERS: [&str; 3] = ["www", "service-worker", "tests"];

/// Installs the packages of `folder`, unless its lock file has not changed since.
pub fn ensure(folder: &str) -> Result<()> {
    if find("npm").is_none() {
        bail!("npm is missing: install Node.js 20 or later");
    }
    let stamp = root().join(folder).join("node_modules/.package-lock.json");
    let lock = root().join(folder).join("package-lock.json");
    if modified(&stamp).is_some_and(|installed| modified(&lock).is_some_and(|locked| locked <= installed)) {
        return Ok(());
    }
    run(npm(folder).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
}

/// npm in `folder`.
pub fn npm(folder: &str) -> Command {
    let mut npm = command("npm");
    npm.current_dir(root().join(folder));
    npm
}

/// Runs a script of the package in `folder`.
pub fn script(folder: &str, name: &str) -> Command {
    let mut npm = npm(folder);
    npm.args(["run", "--silent", name]);
    npm
}

/// A program that the packages of `folder` brought.
pub fn program(folder: &str, name: &str) -> PathBuf {
    root().join(folder).join("node_modules/.bin").join(name)
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
