//! `wasm-pack.toml`: how the WebAssembly is made.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::root;

/// The whole file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where tools come from.
    pub tools: Tools,
    /// What is built, and how.
    pub build: Build,
    /// What is tested in a browser.
    pub test: Test,
    /// Upper bounds of sizes.
    pub budget: Budget,
}

/// Where tools come from.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tools {
    /// A version, or `lock` for the one in Cargo.lock.
    pub wasm_bindgen: String,
    /// Debian's packages of a compiler for wasm.
    pub debian_packages: Vec<String>,
    /// The linker among them.
    pub debian_linker: String,
}

/// What is built, and how.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Build {
    /// The crate.
    pub package: String,
    /// The cargo profile.
    pub profile: String,
    /// Arguments of wasm-opt.
    pub wasm_opt: Vec<String>,
    /// Folder of wasm-bindgen's output, below target/.
    pub bindings: String,
    /// Folder of the app, below target/.
    pub app: String,
}

/// What is tested in a browser.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The crates.
    pub packages: Vec<String>,
}

/// Upper bounds of sizes, in bytes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The WebAssembly module, compressed.
    pub wasm_brotli_bytes: u64,
    /// Everything that the app loads, compressed.
    pub app_brotli_bytes: u64,
}

/// Reads `wasm-pack.toml`.
pub fn read() -> Result<Config> {
    let path = root().join("wasm-pack.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
}

/// The version of `package` in Cargo.lock.
pub fn locked_version(package: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(&fs::read_to_string(root().join("Cargo.lock"))?)?;
    let found = lock
        .package
        .into_iter()
        .find(|candidate| candidate.name == package);
    found
        .map(|package| package.version)
        .with_context(|| format!("{package} is not in Cargo.lock"))
}
