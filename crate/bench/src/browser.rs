//! The measurements in a browser: on IndexedDB, by the browser's clock.

use std::sync::Arc;

use hearth_homeserver::Spawner;
use hearth_storage::{BoxFuture, IndexedDbStore};
use wasm_bindgen::prelude::*;

use crate::{Figures, Platform, Scale, append, comparison, resolution};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn stopwatch() -> f64;
}

/// Compares states. The figures as JSON.
///
/// # Errors
/// A JavaScript `Error` that says what failed.
#[wasm_bindgen]
pub fn compare(smoke: bool) -> Result<String, JsError> {
    outcome(comparison::measure(stopwatch_ms, scale(smoke)))
}

/// Resolves forks. The figures as JSON.
///
/// # Errors
/// A JavaScript `Error` that says what failed.
#[wasm_bindgen]
pub fn resolve(smoke: bool) -> Result<String, JsError> {
    outcome(resolution::measure(stopwatch_ms, scale(smoke)))
}

/// Appends messages to rooms in a new IndexedDB database of the name `database`. The figures as JSON.
///
/// # Errors
/// A JavaScript `Error` that says what failed.
#[wasm_bindgen]
pub async fn append(database: String, smoke: bool) -> Result<String, JsError> {
    let platform = Platform {
        store: Arc::new(IndexedDbStore::open(&database).await?),
        spawner: Arc::new(Microtasks),
        now,
        stopwatch: stopwatch_ms,
    };
    outcome(append::measure(&platform, scale(smoke)).await)
}

fn scale(smoke: bool) -> Scale {
    if smoke { Scale::Smoke } else { Scale::Full }
}

fn outcome(figures: Result<Figures, crate::Failure>) -> Result<String, JsError> {
    let figures = figures.map_err(|error| JsError::new(&error.to_string()))?;
    Ok(figures.prefixed("browser_").to_json())
}

struct Microtasks;

impl Spawner for Microtasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time after 1970, before 10000"
)]
fn now() -> u64 {
    js_sys::Date::now() as u64
}

fn stopwatch_ms() -> f64 {
    stopwatch()
}
