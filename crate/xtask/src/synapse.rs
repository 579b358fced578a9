//! Synapse, the reference homeserver, as a judge of the room engine and for comparison: installed from PyPI below target/, run as a
//! process of its own. Nothing of it becomes part of Hearth.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{apt_install, cargo, command, find, output, run, target};

/// The release that is compared with.
const RELEASE: &str = "1.163";

/// Compares judgements; says so clearly if Synapse cannot be had.
pub fn test() -> Result<()> {
    match python() {
        Ok(python) => run(cargo()
            .args([
                "test",
                "--quiet",
                "--package",
                "hearth-rooms",
                "--test",
                "it",
                "synapse",
                "--",
                "--nocapture",
            ])
            .env("HEARTH_SYNAPSE_PYTHON", python)),
        Err(error) => {
            eprintln!("SKIPPED: matrix-synapse {RELEASE} cannot be installed here: {error:#}");
            Ok(())
        }
    }
}

/// A Python that has Synapse.
pub fn python() -> Result<PathBuf> {
    let folder = target("synapse");
    let python = folder.join("bin/python");
    if is_installed(&python) {
        return Ok(python);
    }
    make_environment(&folder)?;
    run(command(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        &format!("matrix-synapse=={RELEASE}.*"),
    ]))?;
    Ok(python)
}

fn is_installed(python: &PathBuf) -> bool {
    let ask = "import importlib.metadata as m; print(m.version('matrix-synapse'))";
    python.exists()
        && output(command(python).args(["-c", ask])).is_some_and(|version| version.starts_with(RELEASE))
}

fn make_environment(folder: &PathBuf) -> Result<()> {
    let make = || run(command("python3").args(["-m", "venv"]).arg(folder));
    if find("python3").is_some() && make().is_ok() {
        return Ok(());
    }
    apt_install(&["python3", "python3-venv"])?;
    make().context("no Python environment")
}
