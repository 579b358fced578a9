//! The app's files over HTTP: types, caching, compression, and the headers that keep a page safe.

use std::path::PathBuf;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use tower::ServiceExt as _;
use tower_http::{compression::CompressionLayer, services::ServeDir};

/// Scripts and WebAssembly are the app's own; it connects to itself and, by WebSocket, to any relay.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self' data:; \
    connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const SECURITY: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("service-worker-allowed"), "/"),
];

/// The folder of the built app, if there is one.
#[derive(Clone)]
pub(super) struct AppFiles {
    folder: Option<ServeDir>,
}

impl AppFiles {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder: folder.map(files_in),
        }
    }

    /// The file that `request` names; for the path of a view of the app, the app's page.
    pub(super) async fn serve(&self, request: Request) -> Response {
        let Some(folder) = &self.folder else {
            return (StatusCode::NOT_FOUND, "This is a Hearth relay.\n").into_response();
        };
        let path = request.uri().path().to_owned();
        let page = is_view(&path).then(|| request_for_page(&request));
        let mut response = fetch(folder, request).await;
        if let (StatusCode::NOT_FOUND, Some(page)) = (response.status(), page) {
            response = fetch(folder, page).await;
        }
        let kept = response.status().is_success() && is_hashed(&path);
        let caching = if kept {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response
    }
}

/// The files in `folder`; a compressed one beside another, as `name.br`, is given in its place.
pub(super) fn files_in(folder: PathBuf) -> ServeDir {
    ServeDir::new(folder).precompressed_br().precompressed_gzip()
}

pub(super) async fn fetch(folder: &ServeDir, request: Request) -> Response {
    match folder.clone().oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// The same request for the app's page.
fn request_for_page(request: &Request) -> Request {
    let mut page = Request::new(Body::empty());
    *page.method_mut() = if request.method() == Method::HEAD {
        Method::HEAD
    } else {
        Method::GET
    };
    *page.uri_mut() = Uri::from_static("/index.html");
    page.headers_mut().clone_from(request.headers());
    page
}

/// Whether `path` names no file but a view within the app.
fn is_view(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !name.contains('.') && !path.starts_with("/_") && !path.starts_with("/.")
}

/// Whether the file never changes under this name: it is one of the bundler's, which are all in one folder, or
/// has a hash of its content in its name, as `main-3b1f29ac.js`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let hash = name
        .rsplit_once('.')
        .and_then(|(stem, _)| stem.rsplit_once(['-', '.']));
    path.starts_with("/assets/") || hash.is_some_and(|(_, hash)| is_hash(hash))
}

fn is_hash(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() >= 8 && text.bytes().all(allowed) && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Compresses what is not compressed on disk.
pub(super) fn compression() -> CompressionLayer {
    CompressionLayer::new()
}

/// Adds the headers that every answer has, unless it has its own.
pub(super) async fn secure(mut response: Response) -> Response {
    for (name, value) in SECURITY {
        let header = response.headers_mut().entry(name);
        header.or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashed_names_are_kept_forever() {
        for path in [
            "/assets/index-DkX3a9_1.js",
            "/hearth-0f3a9c21.wasm",
            "/fonts/a.3b1f29ac77.woff2",
        ] {
            assert!(is_hashed(path), "{path}");
        }
        for path in [
            "/",
            "/index.html",
            "/sw.js",
            "/hearth-worker.wasm",
            "/icon-512.png",
            "/a-longname.js",
        ] {
            assert!(!is_hashed(path), "{path}");
        }
    }

    #[test]
    fn views_have_no_extension() {
        for path in ["/", "/room/abc", "/settings"] {
            assert!(is_view(path), "{path}");
        }
        for path in [
            "/missing.js",
            "/_matrix/client/versions",
            "/.well-known/matrix/client",
        ] {
            assert!(!is_view(path), "{path}");
        }
    }
}
