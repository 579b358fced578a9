//! Cross-origin headers. Spec: Client-Server API, section 'Web Browser Clients'.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{Body, answer::Answer};

/// Adds the headers that the spec recommends to every answer.
pub(crate) fn allow_all_origins(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization"),
    );
}

/// The answer to a pre-flight request, whatever its path: nothing is looked up.
pub(crate) fn preflight() -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
