//! Whose request it is: `/_hearth/**` is for the app's own pages only.
//!
//! A service worker is given the requests of pages of its own origin, and navigations to it, which any page
//! may cause. So a navigation is refused, and so is whatever another origin is named in.

use http::{HeaderMap, Method, header::ORIGIN};
use wasm_bindgen::prelude::*;
use web_sys::RequestMode;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["self", "location"], js_name = origin, thread_local_v2)]
    static OWN_ORIGIN: Option<String>;
}

/// Whether a page of our own made the request.
pub(crate) fn is_own(mode: RequestMode, headers: &HeaderMap) -> bool {
    mode != RequestMode::Navigate && names_no_other(headers, OWN_ORIGIN.with(Clone::clone).as_deref())
}

/// Whether some page, perhaps of another origin, submitted a form to the API. No client does.
pub(crate) fn is_form(mode: RequestMode, method: &Method) -> bool {
    mode == RequestMode::Navigate && !method.is_safe()
}

fn names_no_other(headers: &HeaderMap, own: Option<&str>) -> bool {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = value(ORIGIN.as_str()).is_none_or(|origin| Some(origin) == own);
    let site = value("sec-fetch-site").is_none_or(|site| site == "same-origin");
    origin && site
}
