//! Time: `Date.now`, `performance.now` and `setTimeout` of the global scope.
//!
//! A sleep of no time gives others their turn, and is a message to oneself: browsers hold every timer that is set
//! by a timer back for 4 ms, which long work in slices would wait for hundreds of times.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures::channel::oneshot;
use hearth_homeserver::Clock;
use hearth_storage::BoxFuture;
use wasm_bindgen::{JsCast, prelude::*};
use web_sys::{MessageChannel, MessagePort};

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
        if duration.is_zero()
            && let Some(turn) = TURNS.with(|turns| turns.as_ref().and_then(Turns::take))
        {
            return Box::pin(async move {
                // It is told, or this instance has ended: then nothing goes on anyway.
                let _ = turn.await;
            });
        }
        Box::pin(Timer::start(duration))
    }
}

thread_local! {
    static TURNS: Option<Turns> = Turns::new().ok();
}

/// Who waits for what came before them to be done.
struct Turns {
    /// Messages to this port come back to us, in order, after all else that waits by then.
    port: MessagePort,
    waiting: Rc<RefCell<VecDeque<oneshot::Sender<()>>>>,
    _callback: Closure<dyn FnMut()>,
}

impl Turns {
    fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let waiting = Rc::<RefCell<VecDeque<oneshot::Sender<()>>>>::default();
        let queue = waiting.clone();
        let callback = Closure::new(move || {
            let next = queue.borrow_mut().pop_front();
            // Nobody waits any more if the receiver is gone.
            let _ = next.map(|next| next.send(()));
        });
        channel
            .port1()
            .set_onmessage(Some(callback.as_ref().unchecked_ref()));
        Ok(Self {
            port: channel.port2(),
            waiting,
            _callback: callback,
        })
    }

    /// A place at the end of the queue.
    fn take(&self) -> Option<oneshot::Receiver<()>> {
        self.port.post_message(&JsValue::NULL).ok()?;
        let (tell, turn) = oneshot::channel();
        self.waiting.borrow_mut().push_back(tell);
        Some(turn)
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
