//! Another Matrix client beside the app. It is of the same origin, so that the app's service worker answers it too.
//! Whose browser has no homeserver yet is led to its pages by way of the app, which starts one.

use std::path::PathBuf;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::PathAndQuery},
    response::{IntoResponse as _, Redirect, Response},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tower_http::services::ServeDir;

use super::app_files::{fetch, files_in};

/// Where it is, with the slash by which the addresses in its page become its own.
pub(super) const PATH: &str = "/client/";

/// The cookie of a browser in which the app has started its homeserver.
const STARTED: &str = "hearth-started=1";
/// What is to be encoded of an address that is a parameter of another.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// What its scripts may do is for its own pages to say, which know them.
const CONTENT_SECURITY_POLICY: &str = "frame-ancestors 'self'";

/// The folder of the client, if there is one.
#[derive(Clone)]
pub(super) struct OtherClient {
    folder: Option<ServeDir>,
}

impl OtherClient {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder: folder.map(files_in),
        }
    }

    /// Whether there is a client and `path` is its own.
    pub(super) fn has(&self, path: &str) -> bool {
        self.folder.is_some() && (path.starts_with(PATH) || path == PATH.trim_end_matches('/'))
    }

    /// Answers a request for such a path.
    pub(super) async fn serve(&self, mut request: Request) -> Response {
        // A service worker of its own would be asked in place of the app's, which is the homeserver.
        if request.headers().contains_key("service-worker") {
            let refusal = "The service worker of this origin is Hearth's.\n";
            return (StatusCode::NOT_FOUND, refusal).into_response();
        }
        let Some(file) = request.uri().path().strip_prefix(PATH) else {
            return Redirect::permanent(PATH).into_response();
        };
        if is_page(request.headers()) && !is_started(request.headers()) {
            let address = request.uri().path_and_query().map_or(PATH, PathAndQuery::as_str);
            let address = utf8_percent_encode(address, PARAMETER);
            return Redirect::to(&format!("/?then={address}")).into_response();
        }
        let (Some(folder), Ok(file)) = (&self.folder, format!("/{file}").parse()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        *request.uri_mut() = file;
        let mut response = fetch(folder, request).await;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CONTENT_SECURITY_POLICY),
        );
        response
    }
}

/// Whether what is asked for is shown in a window of its own. Spec: W3C, Fetch Metadata Request Headers.
fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-dest")
        .is_some_and(|dest| dest == "document")
}

fn is_started(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let mut cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    cookies.any(|cookies| cookies.split(';').any(|cookie| cookie.trim() == STARTED))
}
