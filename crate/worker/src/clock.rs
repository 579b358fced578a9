//! Time: `Date.now`, `performance.now` and `setTimeout` of the global scope.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::channel::oneshot;
use hearth_homeserver::Clock;
use hearth_storage::BoxFuture;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Closure<dyn FnMut()>, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The browser's clock.
pub(crate) struct BrowserClock;

impl Clock for BrowserClock {
    fn now(&self) -> u64 {
        now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Timer::start(duration))
    }
}

/// Milliseconds since the Unix epoch.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time after 1970, before 10000"
)]
pub(crate) fn now() -> u64 {
    js_sys::Date::now() as u64
}

/// Milliseconds since some moment, with fractions, never going back: for measuring.
pub(crate) fn stopwatch() -> f64 {
    performance_now()
}

/// A `setTimeout` that is cleared when dropped.
struct Timer {
    id: JsValue,
    fired: oneshot::Receiver<()>,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// Longer waits than a browser can count (24 days) end early.
    fn start(duration: Duration) -> Self {
        let (fire, fired) = oneshot::channel();
        let mut fire = Some(fire);
        let callback = Closure::new(move || {
            if let Some(fire) = fire.take() {
                // Nobody waits any more if the receiver is gone.
                let _ = fire.send(());
            }
        });
        let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        Self {
            id: set_timeout(&callback, milliseconds),
            fired,
            _callback: callback,
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.fired).poll(context).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
    }
}
