//! `cargo xtask size`: what a user downloads.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{app, config, setup};

/// Builds the app, prints its sizes, and fails above the budget.
pub fn print() -> Result<()> {
    setup::for_build()?;
    app::build(app::Kind::Release)?;
    let sizes = measure()?;
    println!("wasm_raw_bytes {}", sizes.wasm_raw);
    println!("wasm_brotli_bytes {}", sizes.wasm_brotli);
    println!("app_brotli_bytes {}", sizes.app_brotli);
    let budget = config::read()?.budget;
    if sizes.wasm_brotli > budget.wasm_brotli_bytes || sizes.app_brotli > budget.app_brotli_bytes {
        bail!("the app is larger than the budget in wasm-pack.toml");
    }
    Ok(())
}

/// Sizes in bytes.
pub struct Sizes {
    /// The module as it is.
    pub wasm_raw: usize,
    /// The module, compressed.
    pub wasm_brotli: usize,
    /// All files of the app, each compressed.
    pub app_brotli: usize,
}

/// Measures the app that was built last.
pub fn measure() -> Result<Sizes> {
    let folder = app::folder(app::Kind::Release)?;
    let mut sizes = Sizes {
        wasm_raw: 0,
        wasm_brotli: 0,
        app_brotli: 0,
    };
    for path in files(&folder)? {
        let bytes = fs::read(&path)?;
        let compressed = brotli_length(&bytes)?;
        sizes.app_brotli += compressed;
        if path.extension().is_some_and(|extension| extension == "wasm") {
            sizes.wasm_raw += bytes.len();
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

fn brotli_length(bytes: &[u8]) -> Result<usize> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 1 << 16, 11, 24);
    writer.write_all(bytes)?;
    Ok(writer.into_inner().len())
}
