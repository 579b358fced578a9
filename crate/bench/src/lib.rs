//! Measures the room engine, natively and in a browser: the same code over a store and a stopwatch.
//!
//! Each module measures one thing and returns [`Figures`]. Where a figure is a ratio, both its sides were measured
//! in the same run, in turns. Nothing here is part of the product, and nothing asserts a time: `cargo xtask bench`
//! prints the figures, and people judge them.

pub mod append;
#[cfg(target_family = "wasm")]
pub mod browser;
pub mod comparison;
mod figures;
mod fork;
#[cfg(not(target_family = "wasm"))]
pub mod join;
mod platform;
mod remote;
pub mod resolution;
mod synthetic_room;

pub use figures::{Figures, Times};
pub use platform::Platform;

use std::error::Error;

/// Why something could not be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As the marks say: rooms of 100,000 entries.
    Full,
    /// The smallest sizes, which show nothing but that the code works.
    Smoke,
}

/// Everything that is measured of rooms on one store.
///
/// # Errors
/// [`Failure`] if the room engine refuses something, or answers otherwise than it should.
pub async fn rooms(platform: &Platform, scale: Scale) -> Result<Figures, Failure> {
    let mut figures = comparison::measure(platform.stopwatch, scale)?;
    figures.add(resolution::measure(platform.stopwatch, scale)?);
    figures.add(append::measure(platform, scale).await?);
    #[cfg(not(target_family = "wasm"))]
    figures.add(join::measure(platform.stopwatch, scale)?);
    Ok(figures)
}
