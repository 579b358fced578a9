//! What an instance does not survive: a panic, said with its stack, or the loss of its database. The service worker is
//! told, and replaces the instance.
//!
//! A panic ends in a trap, after which the instance's memory cannot be trusted. Whoever waits for an answer
//! would wait for ever, so the service worker is told before the trap.

use std::{cell::RefCell, panic::PanicHookInfo};

use tracing::Level;
use wasm_bindgen::prelude::*;

use crate::log;

thread_local! {
    static TELL: RefCell<Option<js_sys::Function>> = const { RefCell::new(None) };
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Error)]
    type StackError;
    #[wasm_bindgen(constructor, js_class = "Error")]
    fn new(message: &str) -> StackError;
    #[wasm_bindgen(method, getter)]
    fn stack(this: &StackError) -> Option<String>;
}

/// Calls `tell(message, log as JSON)` when the instance is lost.
pub(crate) fn install(tell: js_sys::Function) {
    TELL.with(|slot| *slot.borrow_mut() = Some(tell));
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let stack = StackError::new("").stack().unwrap_or_default();
    lose("panic", format!("{info}\n{stack}"));
}

/// Gives this instance up, as `message` says.
pub(crate) fn lose(target: &str, message: String) {
    log::write(Level::ERROR, target, message.clone());
    hearth_p2p::transport::close_sockets();
    let lines = serde_json::to_string(&log::lines()).unwrap_or_default();
    let tell = TELL.with(|slot| slot.try_borrow().ok().and_then(|tell| tell.clone()));
    if let Some(tell) = tell {
        // The instance is lost whatever the service worker makes of it.
        let _ = tell.call2(&JsValue::UNDEFINED, &message.into(), &lines.into());
    }
}
