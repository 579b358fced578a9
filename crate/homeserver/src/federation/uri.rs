//! Paths of the Server-Server API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is escaped in a segment: all but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `/_matrix/federation/`, `endpoint`, each of `segments` escaped, and `query` as it is.
pub(crate) fn path(endpoint: &str, segments: &[&str], query: &str) -> String {
    let mut uri = format!("/_matrix/federation/{endpoint}");
    for segment in segments {
        uri.push('/');
        uri.push_str(&escaped(segment));
    }
    if !query.is_empty() {
        uri.push('?');
        uri.push_str(query);
    }
    uri
}

/// `text` as one segment of a path or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
