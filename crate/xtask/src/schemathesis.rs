//! schemathesis, which asks a homeserver whatever the specification's OpenAPI document lists: installed from PyPI below
//! target/. The document is not part of this repository: it is looked for in `HEARTH_SPEC_DIR`, or in `shared/spec`
//! beside the project.

use std::{env, path::PathBuf};

use anyhow::Result;

use crate::{
    command::{cargo, command, root, run, target},
    python,
};

/// The release whose options are known here.
const RELEASE: &str = "4";
/// Requests for each operation and phase. `HEARTH_EXAMPLES` asks for more.
const EXAMPLES: &str = "3";

/// Asks everything; says so clearly if the tool or the document cannot be had.
pub fn test() -> Result<()> {
    let document = specification().join("openapi-client-server.json");
    if !document.exists() {
        eprintln!("SKIPPED: {} is not there", document.display());
        return Ok(());
    }
    let python = match python::with("schemathesis", RELEASE) {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: schemathesis {RELEASE} cannot be installed here: {error:#}");
            return Ok(());
        }
    };
    run(cargo().args(["build", "--quiet", "--package", "hearth-node"]))?;
    let examples = env::var("HEARTH_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    run(command(python)
        .current_dir(target(""))
        .arg(root().join("tests/schemathesis/drive.py"))
        .arg(target("debug/hearth-node"))
        .arg(document)
        .arg(examples))
}

fn specification() -> PathBuf {
    let beside = root().join("../shared/spec");
    env::var_os("HEARTH_SPEC_DIR").map_or(beside, PathBuf::from)
}
