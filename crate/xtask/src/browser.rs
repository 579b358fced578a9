//! A Chromium for the tests: an installed one, Debian's, or Playwright's own.

use std::path::PathBuf;

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

/// Makes sure that [`executable`] and chromedriver are there.
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

/// The installed browser; `None` leaves the choice to Playwright.
pub fn executable() -> Option<PathBuf> {
    std::env::var_os("CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| NAMES.iter().find_map(|name| find(name)))
}
