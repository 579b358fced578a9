//! Randomness: `crypto.getRandomValues`.

use hearth_homeserver::Rng;
use wasm_bindgen::UnwrapThrowExt;

/// The browser's source of random bytes.
pub(crate) struct BrowserRng;

impl Rng for BrowserRng {
    /// A browser without randomness cannot make keys: the error is thrown to JavaScript.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap_throw();
    }
}
