//! Another Matrix client beside the app. It is of the same origin, so that the app's service worker answers it too.

use std::path::PathBuf;

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use tower_http::services::ServeDir;

use super::app_files::{fetch, files_in};

/// Where it is, with the slash by which the addresses in its page become its own.
pub(super) const PATH: &str = "/client/";

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
