//! `cargo xtask size`: what a user downloads.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{app, config, setup};

/// Builds the app, prints its sizes, and fails above the budget.
pub fn print() -> Result<()> {
    setup::for_build()?;
    app::build(app::Kind::Release)?;
    let sizes = measure(app::Kind::Release)?;
    println!("{sizes}");
    sizes.check(0)
}

/// Sizes in bytes.
pub struct Sizes {
    /// The module as it is.
    pub wasm_raw: u64,
    /// The module, compressed.
    pub wasm_brotli: u64,
    /// All files of the app, compressed where the build compresses them.
    pub app_brotli: u64,
}

impl Sizes {
    /// Fails if more than `tolerance` per cent above the budget.
    pub fn check(&self, tolerance: u64) -> Result<()> {
        let budget = config::read()?.budget;
        let exceeds = |size: u64, budget: u64| size > budget + budget * tolerance / 100;
        if exceeds(self.wasm_brotli, budget.wasm_brotli_bytes)
            || exceeds(self.app_brotli, budget.app_brotli_bytes)
        {
            bail!("the app is larger than the budget in wasm-pack.toml");
        }
        Ok(())
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "wasm_raw_bytes {}", self.wasm_raw)?;
        writeln!(formatter, "wasm_brotli_bytes {}", self.wasm_brotli)?;
        write!(formatter, "app_brotli_bytes {}", self.app_brotli)
    }
}

/// Measures the app of `kind` that was built last.
pub fn measure(kind: app::Kind) -> Result<Sizes> {
    let mut sizes = Sizes {
        wasm_raw: 0,
        wasm_brotli: 0,
        app_brotli: 0,
    };
    for path in files(&app::folder(kind)?)? {
        let raw = fs::metadata(&path)?.len();
        let compressed = fs::metadata(with_suffix(&path, ".br")).map_or(raw, |metadata| metadata.len());
        sizes.app_brotli += compressed;
        if path.extension().is_some_and(|extension| extension == "wasm") {
            sizes.wasm_raw += raw;
            sizes.wasm_brotli += compressed;
        }
    }
    Ok(sizes)
}

/// The files that a browser loads: all but source maps and compressed copies.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("no app in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if !["map", "br", "gz"].contains(&extension.as_str()) {
            found.push(path);
        }
    }
    Ok(found)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
