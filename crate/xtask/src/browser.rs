//! A Chromium for the tests: an installed one, Debian's, or Playwright's own.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    command::{apt_install, find, run},
    npm,
};

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Makes sure that a browser and chromedriver are there.
pub fn ensure() -> Result<()> {
    if executable().is_some() && find("chromedriver").is_some() {
        return Ok(());
    }
    if apt_install(&["chromium", "chromium-driver"]).is_ok() {
        return Ok(());
    }
    run(npm::npm("tests").args(["exec", "--", "playwright-core", "install", "chromium"]))
        .context("no Chromium: install chromium and chromedriver")
}

/// Tells `command` of the installed browser; without one the choice is Playwright's.
pub fn named(command: &mut Command) -> &mut Command {
    match executable() {
        Some(path) => command.env("CHROMIUM", path),
        None => command,
    }
}

fn executable() -> Option<PathBuf> {
    std::env::var_os("CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| NAMES.iter().find_map(|name| find(name)))
}
