//! Synapse, the reference homeserver, as a judge of the room engine and for comparison: installed from PyPI below
//! target/, run as a process of its own. Nothing of it becomes part of Hearth.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    command::{cargo, run},
    python,
};

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
    python::with("matrix-synapse", RELEASE)
}
