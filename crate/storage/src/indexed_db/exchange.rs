//! IndexedDB's events as futures, and its exceptions as errors.

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DomException, IdbRequest, IdbTransaction};

use crate::StoreError;

/// Waits for `request` and returns its result.
///
/// The caller may place further requests in the same transaction right after: a promise continues before the
/// event's transaction becomes inactive.
pub(super) async fn answer(request: &IdbRequest) -> Result<JsValue, StoreError> {
    let settled = Promise::new(&mut |resolve, reject| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&reject));
    });
    if JsFuture::from(settled).await.is_err() {
        return Err(request
            .error()
            .ok()
            .flatten()
            .map_or_else(unknown, |error| named(&error)));
    }
    request.result().map_err(failure)
}

/// Asks `transaction` to commit now, and waits until it has, or was rolled back.
pub(super) async fn completion(transaction: &IdbTransaction) -> Result<(), StoreError> {
    let settled = Promise::new(&mut |resolve, reject| {
        transaction.set_oncomplete(Some(&resolve));
        transaction.set_onabort(Some(&reject));
    });
    commit(transaction);
    match JsFuture::from(settled).await {
        Ok(_) => Ok(()),
        Err(_) => Err(transaction.error().map_or_else(unknown, |error| named(&error))),
    }
}

/// Without an explicit commit, a transaction ends a little later by itself.
#[allow(
    deprecated,
    reason = "web-sys calls it so for a change of its own; it is standard"
)]
fn commit(transaction: &IdbTransaction) {
    // A transaction that is already rolling back refuses it; the event tells why.
    let _ = transaction.commit();
}

/// The error that an exception stands for.
#[allow(clippy::needless_pass_by_value, reason = "goes into map_err")]
pub(super) fn failure(exception: JsValue) -> StoreError {
    match exception.dyn_ref::<DomException>() {
        Some(exception) => named(exception),
        None => StoreError::Backend(format!("{exception:?}")),
    }
}

fn named(exception: &DomException) -> StoreError {
    let text = format!("{}: {}", exception.name(), exception.message());
    match exception.name().as_str() {
        "QuotaExceededError" => StoreError::Full,
        "ConstraintError" => StoreError::Exists,
        "InvalidStateError" => StoreError::Closed(text),
        _ => StoreError::Backend(text),
    }
}

fn unknown() -> StoreError {
    StoreError::Backend("the transaction was rolled back without a reason".into())
}
