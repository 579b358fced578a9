//! A running homeserver, as the service worker holds it.

use std::rc::Rc;

use futures::future::{Either, select};
use hearth_api::{Api, Source};
use hearth_p2p::Network;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::AbortSignal;

use crate::{addresses::Addresses, fetch, origin, routes, status::About};

/// A running homeserver.
#[wasm_bindgen]
pub struct Hearth(pub(crate) Rc<Instance>);

/// What a running homeserver consists of.
pub(crate) struct Instance {
    pub(crate) api: Api,
    pub(crate) network: Network,
    pub(crate) addresses: Addresses,
    pub(crate) about: About,
    /// Aborted when this instance is given up, so that no body waits for it.
    pub(crate) death: AbortSignal,
}

#[wasm_bindgen]
impl Hearth {
    /// The `Response` to a page's request for `/_matrix/**`, `/.well-known/matrix/**` or `/_hearth/**`.
    /// `body` is the body of `request` if that was read already.
    ///
    /// Rejects only if the page gave up (its signal is aborted) or the browser refuses the answer.
    pub fn fetch(&self, request: web_sys::Request, body: Option<Uint8Array>) -> Promise {
        let instance = self.0.clone();
        future_to_promise(async move { instance.answer(request, body).await.map(Into::into) })
    }

    /// Keeps reservations at these relays too, given as multiaddrs.
    #[wasm_bindgen(js_name = addRelays)]
    pub fn add_relays(&self, relays: Vec<String>) {
        self.0.network.add_relays(relays);
    }

    /// Retries every connection now, as when the device comes back online.
    pub fn wake(&self) {
        self.0.network.wake();
    }

    /// Panics. Only service workers that are built for tests have a way to call it.
    #[allow(clippy::panic, reason = "this is what it is for")]
    pub fn trap(&self) {
        panic!("a test asked for a panic");
    }
}

impl Instance {
    async fn answer(
        &self,
        request: web_sys::Request,
        body: Option<Uint8Array>,
    ) -> Result<web_sys::Response, JsValue> {
        let converted = match fetch::request(&request, body) {
            Ok(converted) => converted,
            Err(error) => return malformed(&error.to_string()),
        };
        let may_be_abandoned = hearth_api::may_be_abandoned(converted.method(), converted.uri().path());
        let answer = self.dispatch(converted, request.mode());
        if !may_be_abandoned {
            // What changes something runs to its end, whether or not anybody waits for the answer.
            return fetch::response(answer.await, &self.death);
        }
        let abortion = std::pin::pin!(fetch::abortion(request.signal()));
        match select(std::pin::pin!(answer), abortion).await {
            Either::Left((answer, _)) => fetch::response(answer, &self.death),
            Either::Right(_) => Err(request.signal().reason()),
        }
    }

    async fn dispatch(
        &self,
        request: http::Request<hearth_api::Body>,
        mode: web_sys::RequestMode,
    ) -> http::Response<hearth_api::Body> {
        if request.uri().path().starts_with(routes::PREFIX) {
            let is_own = origin::is_own(mode, request.headers());
            return routes::handle(self, request, is_own).await;
        }
        if origin::is_form(mode, request.method()) {
            return routes::forbidden("the API takes no forms");
        }
        self.api.handle(request, Source::Client).await
    }
}

fn malformed(error: &str) -> Result<web_sys::Response, JsValue> {
    let body = serde_json::json!({ "errcode": "M_UNRECOGNIZED", "error": error }).to_string();
    let init = web_sys::ResponseInit::new();
    init.set_status(400);
    web_sys::Response::new_with_opt_str_and_init(Some(&body), &init)
}
