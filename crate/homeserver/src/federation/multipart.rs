//! The answers that carry files: `multipart/mixed` with a JSON object and the file. Spec: Server-Server API,
//! section 'Content Repository' (MSC3916). RFC 2046, section 5.1.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, header};
use percent_encoding::percent_decode_str;

use crate::ordered::map;

/// The longest boundary that RFC 2046 allows.
const MAX_BOUNDARY: usize = 70;
/// The longest head of a part, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// One part of a body.
pub(crate) struct Part {
    /// The headers, with their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What follows them.
    pub content: Bytes,
}

/// The second part of an answer: the file. `None` if the answer is malformed, or tells to look elsewhere.
pub(crate) fn file(answer: &Response<Bytes>) -> Option<Part> {
    let boundary = boundary(answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?)?;
    let body = answer.body();
    let delimiter = format!("--{boundary}");
    let json = body.slice(after(body, delimiter.as_bytes())?..);
    let delimiter = format!("\r\n{delimiter}");
    let rest = json.slice(after(&json, delimiter.as_bytes())?..);
    let (head, content) = head_and_content(&rest)?;
    let end = content
        .windows(delimiter.len())
        .rposition(|window| window == delimiter.as_bytes())?;
    let part = Part {
        headers: head,
        content: content.slice(..end),
    };
    let elsewhere = part.headers.contains_key(header::LOCATION.as_str());
    (!elsewhere).then_some(part)
}

/// The parameter `boundary` of a content type.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary")
            .then(|| value.trim_matches('"'))
    })?;
    (!value.is_empty() && value.len() <= MAX_BOUNDARY).then_some(value)
}

/// Where what follows the first `pattern` begins.
fn after(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let found = text.windows(pattern.len()).position(|window| window == pattern)?;
    Some(found + pattern.len())
}

/// A part, after its delimiter, taken apart at its first empty line.
fn head_and_content(part: &Bytes) -> Option<(BTreeMap<String, String>, Bytes)> {
    let near = part.get(..part.len().min(MAX_HEAD))?;
    let end = after(near, b"\r\n\r\n")?;
    let head = std::str::from_utf8(near.get(..end)?).ok()?;
    let headers = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((map(headers), part.slice(end..)))
}

/// The file name in a `Content-Disposition`. RFC 6266.
pub(crate) fn file_name(disposition: &str) -> Option<String> {
    let parameter = |wanted: &str| {
        disposition.split(';').find_map(|parameter| {
            let (name, value) = parameter.trim().split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let extended = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let decoded = percent_decode_str(encoded).decode_utf8().ok()?;
        charset
            .eq_ignore_ascii_case("utf-8")
            .then(|| decoded.into_owned())
    });
    extended.or_else(|| Some(parameter("filename")?.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    fn answer(content_type: &str, body: &'static str) -> Response<Bytes> {
        Response::builder()
            .header(header::CONTENT_TYPE, content_type)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn the_second_part_is_the_file() {
        let body = "--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\nContent-Type: text/plain\r\n\r\na\r\n--\
                    b\r\n--x--\r\n";
        let file = file(&answer("multipart/mixed; boundary=\"x\"", body)).unwrap();
        assert_eq!(file.content, "a\r\n--b");
        assert_eq!(file.headers["content-type"], "text/plain");
    }

    #[test]
    fn malformed_answers_hold_no_file() {
        for (content_type, body) in [
            ("text/plain", ""),
            ("multipart/mixed", "--x"),
            ("multipart/mixed; boundary=", "--\r\n\r\n--"),
            ("multipart/mixed; boundary=x", ""),
            ("multipart/mixed; boundary=x", "--x\r\n\r\n{}\r\n--x--"),
            ("multipart/mixed; boundary=x", "--x\r\n\r\n{}\r\n--x\r\nno end"),
            (
                "multipart/mixed; boundary=x",
                "--x\r\n\r\n{}\r\n--x\r\nLocation: https://a\r\n\r\n\r\n--x--",
            ),
        ] {
            assert!(
                file(&answer(content_type, body)).is_none(),
                "{content_type} {body}"
            );
        }
    }

    #[test]
    fn file_names_are_found_in_both_forms() {
        for (disposition, name) in [
            ("attachment; filename=a.txt", "a.txt"),
            ("inline; filename=\"a b\"", "a b"),
            ("inline; filename=x; filename*=utf-8''%E2%82%AC%3B", "€;"),
        ] {
            assert_eq!(file_name(disposition).unwrap(), name);
        }
        assert_eq!(file_name("attachment"), None);
    }
}
