//! The npm packages of `www/`, `service-worker/` and `tests/`.

use std::{fs, path::PathBuf, process::Command, time::SystemTime};

use anyhow::{Result, bail};

use crate::command::{command, find, output, root, run};

/// The folders with a package.json.
pub const FOLDERS: [&str; 3] = ["www", "service-worker", "tests"];

/// What Vite and ESLint run on, by their package.json.
const NODE: &str = "Node.js 20.19, or 22.13 or later";

/// Installs the packages of `folder`, unless its lock file has not changed since.
pub fn ensure(folder: &str) -> Result<()> {
    if find("npm").is_none() {
        bail!("npm is missing: install {NODE}");
    }
    let version = output(command("node").arg("--version")).unwrap_or_default();
    if !is_enough(&version) {
        bail!("Node.js {} is too old: install {NODE}", version.trim());
    }
    let stamp = root().join(folder).join("node_modules/.package-lock.json");
    let lock = root().join(folder).join("package-lock.json");
    if modified(&stamp).is_some_and(|installed| modified(&lock).is_some_and(|locked| locked <= installed)) {
        return Ok(());
    }
    run(npm(folder).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
}

/// Whether what `node --version` says is [`NODE`].
fn is_enough(version: &str) -> bool {
    let mut numbers = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(20), Some(minor)) => minor >= 19,
        (Some(major), Some(minor)) => (major, minor) >= (22, 13),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use super::is_enough;

    #[test]
    fn versions_of_node_are_told_apart() {
        for version in ["v20.19.0\n", "v20.20.2", "v22.13.0", "v24.0.0", "v26.1.0-nightly"] {
            assert!(is_enough(version), "{version}");
        }
        for version in [
            "v18.20.0",
            "v20.18.3",
            "v21.7.0",
            "v22.12.0",
            "v22",
            "",
            "command not found",
        ] {
            assert!(!is_enough(version), "{version}");
        }
    }
}
