//! Tools from PyPI, each in an environment of its own below target/.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{apt_install, command, find, output, run, target};

/// A Python that has `package` of a release that begins with `release`.
pub fn with(package: &str, release: &str) -> Result<PathBuf> {
    let folder = target(package.trim_start_matches("matrix-"));
    let python = folder.join("bin/python");
    if is_installed(&python, package, release) {
        return Ok(python);
    }
    make_environment(&folder)?;
    let wanted = format!("{package}=={release}.*");
    run(command(&python).args(["-m", "pip", "install", "--quiet", &wanted]))?;
    Ok(python)
}

fn is_installed(python: &Path, package: &str, release: &str) -> bool {
    let ask = format!("import importlib.metadata as m; print(m.version('{package}'))");
    let asked = python
        .exists()
        .then(|| output(command(python).args(["-c", &ask])));
    asked
        .flatten()
        .is_some_and(|version| version.starts_with(&format!("{release}.")))
}

fn make_environment(folder: &Path) -> Result<()> {
    let make = || run(command("python3").args(["-m", "venv"]).arg(folder));
    if find("python3").is_some() && make().is_ok() {
        return Ok(());
    }
    apt_install(&["python3", "python3-venv"])?;
    make().context("no Python environment")
}
