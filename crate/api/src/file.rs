//! Answers that are files, whole or in part. Spec: Client-Server API, section 'Content Repository', 'Serving
//! inline content' and 'Security considerations'; RFC 9110, section 14 (ranges).

use std::{ops::Range, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hearth_homeserver::{Homeserver, media::Media};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Body, BodyError, answer::Outcome, error::ApiError};

/// What is escaped in a file name: all but `attr-char` of RFC 8187.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The content types that a browser may show in place. Spec: 'Serving inline content'.
const INLINE: [&str; 20] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
];

/// Whatever a file holds, it can do nothing.
const SANDBOX: &str = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src \
                       'unsafe-inline'; object-src 'self';";

/// The separator of the parts of an answer to another server: what no file has is not needed, since the reader
/// looks for the last one.
const BOUNDARY: &str = "hearth-file-0b5c1d6e7f";

/// The most bytes of a file that are held at once.
const SHORT: u64 = 2 * 1024 * 1024;

/// The part of a file that a request asks for.
enum Asked {
    Whole,
    Part(Range<u64>),
    /// A range that the file does not have.
    Nothing,
}

impl Asked {
    /// Reads the header `Range`. What is malformed, or asks for several parts, is answered whole.
    fn read(headers: &HeaderMap, size: u64) -> Self {
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let Some((first, last)) = range
            .and_then(|range| range.strip_prefix("bytes="))
            .and_then(|range| range.split_once('-'))
        else {
            return Self::Whole;
        };
        let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
            (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
            (Err(_), Ok(length)) if first.trim().is_empty() => size.saturating_sub(length)..size,
            _ => return Self::Whole,
        };
        if range.is_empty() {
            Self::Nothing
        } else {
            Self::Part(range)
        }
    }
}

/// The file `media` as an answer to a client. `name` replaces the file's own name.
pub(crate) async fn answer(
    homeserver: &Arc<Homeserver>,
    media: &Media,
    name: Option<&str>,
    request: &HeaderMap,
) -> Outcome {
    let mut headers = security();
    let content_type = media.description.content_type.as_str();
    headers.insert(header::CONTENT_TYPE, value(content_type)?);
    let name = name.or(media.description.file_name.as_deref());
    headers.insert(
        header::CONTENT_DISPOSITION,
        value(&disposition(content_type, name))?,
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, range) = match Asked::read(request, media.size) {
        Asked::Whole => (StatusCode::OK, 0..media.size),
        Asked::Part(range) => {
            headers.insert(header::CONTENT_RANGE, value(&content_range(&range, media.size))?);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Asked::Nothing => return not_satisfiable(media.size),
    };
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let mut answer = Response::new(body(homeserver, media, range).await?);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

/// The file `media` as an answer to another server: `multipart/mixed`. Spec: Server-Server API, section
/// 'Content Repository'.
pub(crate) async fn answer_to_server(
    homeserver: &Arc<Homeserver>,
    media: &Media,
    request: &HeaderMap,
) -> Outcome {
    let content_type = media.description.content_type.as_str();
    let disposition = disposition(content_type, media.description.file_name.as_deref());
    let mut head = format!(
        "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{BOUNDARY}\r\nContent-Type: \
         {content_type}\r\nContent-Disposition: {disposition}\r\n"
    );
    let (status, range) = match Asked::read(request, media.size) {
        Asked::Part(range) => {
            head += &format!("Content-Range: {}\r\n", content_range(&range, media.size));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Asked::Nothing if media.size > 0 => return not_satisfiable(media.size),
        Asked::Whole | Asked::Nothing => (StatusCode::OK, 0..media.size),
    };
    head += "\r\n";
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let part = |text: String| stream::once(async move { Ok(text.into()) });
    let body = body(homeserver, media, range).await?;
    let body = Body::stream(part(head).chain(body).chain(part(tail)));
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let content_type = value(&format!("multipart/mixed; boundary={BOUNDARY}"))?;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(answer)
}

/// The bytes `range` of the file. Short ones are read before the answer begins: if they are damaged, it can still be an
/// error.
async fn body(homeserver: &Arc<Homeserver>, media: &Media, range: Range<u64>) -> Result<Body, ApiError> {
    let is_short = range.end.saturating_sub(range.start) <= SHORT;
    let chunks = homeserver.read_media(media, range);
    if is_short {
        let chunks: Vec<_> = chunks.try_collect().await?;
        return Ok(Body::from(chunks.concat()));
    }
    let chunks = chunks.map_err(|error| BodyError::Aborted(error.to_string()));
    Ok(Body::stream(chunks))
}

fn security() -> HeaderMap {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    headers
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
}

/// How a browser is to treat the file. RFC 6266.
fn disposition(content_type: &str, name: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_inline = INLINE.iter().any(|known| known.eq_ignore_ascii_case(essence));
    let kind = if is_inline { "inline" } else { "attachment" };
    match name {
        Some(name) => format!(
            "{kind}; filename*=utf-8''{}",
            utf8_percent_encode(name, ATTRIBUTE)
        ),
        None => kind.to_owned(),
    }
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

fn not_satisfiable(size: u64) -> Outcome {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    let range = value(&format!("bytes */{size}"))?;
    answer.headers_mut().insert(header::CONTENT_RANGE, range);
    Ok(answer)
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text)
        .map_err(|_| ApiError::not_found("The file has a description that cannot be sent"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn asked(range: &str) -> String {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::try_from(range).unwrap())]);
        match Asked::read(&headers, 10) {
            Asked::Whole => "whole".into(),
            Asked::Part(range) => format!("{}..{}", range.start, range.end),
            Asked::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (range, part) in [
            ("bytes=0-3", "0..4"),
            ("bytes=4-", "4..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-30", "0..10"),
            ("bytes=5-100", "5..10"),
            ("bytes=10-", "nothing"),
            ("bytes=-0", "nothing"),
            ("bytes=5-4", "whole"),
            ("bytes=0-1,3-4", "whole"),
            ("lines=0-1", "whole"),
            ("bytes=a-b", "whole"),
        ] {
            assert_eq!(asked(range), part, "{range}");
        }
    }

    #[test]
    fn only_harmless_types_are_shown_in_place() {
        assert_eq!(disposition("image/png", None), "inline");
        assert_eq!(disposition("text/plain; charset=utf-8", None), "inline");
        assert_eq!(disposition("text/html", None), "attachment");
        assert_eq!(disposition("image/svg+xml", None), "attachment");
        assert_eq!(
            disposition("image/png", Some("a\"b\r\nX: ö")),
            "inline; filename*=utf-8''a%22b%0D%0AX%3A%20%C3%B6"
        );
    }
}
