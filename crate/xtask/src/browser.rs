//! Browsers for the tests: a Chromium, which is installed, Debian's, or Playwright's own; and a Firefox, where there is one
//! or Debian's can be had.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    command::{apt_install, find, run},
    npm,
};

const CHROMIUM: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const FIREFOX: [&str; 2] = ["firefox", "firefox-esr"];

/// Makes sure that Chromium and chromedriver are there, and Firefox if it can be had.
pub fn ensure() -> Result<()> {
    if executable("FIREFOX", &FIREFOX).is_none() && apt_install(&["firefox-esr"]).is_err() {
        eprintln!("No Firefox: what is tested in it is skipped");
    }
    if executable("CHROMIUM", &CHROMIUM).is_some() && find("chromedriver").is_some() {
        return Ok(());
    }
    if apt_install(&["chromium", "chromium-driver"]).is_ok() {
        return Ok(());
    }
    run(npm::npm("tests").args(["exec", "--", "playwright-core", "install", "chromium"]))
        .context("no Chromium: install chromium and chromedriver")
}

/// Tells `command` of the installed browsers. Without a Chromium the choice is Playwright's.
pub fn named(command: &mut Command) -> &mut Command {
    let browsers = [("CHROMIUM", &CHROMIUM[..]), ("FIREFOX", &FIREFOX)];
    let found = browsers.map(|(variable, names)| executable(variable, names).map(|path| (variable, path)));
    command.envs(found.into_iter().flatten())
}

/// What the environment variable names, else the first of `names` on the PATH.
fn executable(variable: &str, names: &[&str]) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| names.iter().find_map(|name| find(name)))
}
