//! How a request or an answer is written on a stream.
//!
//! A message is a head and a body. The head is its length (u32, big-endian, at most 64 KiB) and so many bytes
//! of CBOR: `[method, target, [[name, value], …]]` for a request, `[status, [[name, value], …]]` for an answer.
//! The body is chunks, each its length (u32, big-endian, at most 64 KiB) and so many bytes; a chunk of length
//! zero ends it. Anything else is an error, after which nothing more of the stream can be read.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The greatest head, in bytes.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// The greatest chunk of a body, in bytes.
pub(super) const MAX_CHUNK: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// Arrays in arrays: a head needs three levels.
const MAX_DEPTH: usize = 8;
/// The longest path and query, in bytes.
const MAX_TARGET: usize = 16 << 10;

/// Why a message cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The stream has failed or ended early.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The head is longer than 64 KiB.
    #[error("the head is too long")]
    HeadTooLong,
    /// The head is not what it must be.
    #[error("the head is malformed: {0}")]
    Head(&'static str),
    /// A chunk is longer than 64 KiB.
    #[error("a chunk is too long")]
    ChunkTooLong,
}

#[derive(Serialize, Deserialize)]
struct RequestHead(String, String, Vec<(String, String)>);

#[derive(Serialize, Deserialize)]
struct ResponseHead(u16, Vec<(String, String)>);

/// Writes `request` whole and flushes.
pub(super) async fn write_request(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request<Bytes>,
) -> Result<(), FrameError> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let headers = written_headers(request.headers());
    let head = RequestHead(request.method().as_str().to_owned(), target.to_owned(), headers);
    let mut message = Message::new(&head)?;
    message.add(stream, request.body()).await?;
    message.end(stream).await
}

/// Writes `response` whole and flushes.
pub(super) async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &Response<Bytes>,
) -> Result<(), FrameError> {
    let mut message = Message::answer(response)?;
    message.add(stream, response.body()).await?;
    message.end(stream).await
}

/// Reads the head of a request. Its URI is a path and query.
pub(super) async fn read_request_head(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<request::Parts, FrameError> {
    let RequestHead(method, target, headers) = read_head(stream).await?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| FrameError::Head("method"))?;
    parts.uri = read_target(target)?;
    parts.headers = read_headers(headers)?;
    Ok(parts)
}

/// Reads the head of an answer.
pub(super) async fn read_response_head(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<response::Parts, FrameError> {
    let ResponseHead(status, headers) = read_head(stream).await?;
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).map_err(|_| FrameError::Head("status"))?;
    parts.headers = read_headers(headers)?;
    Ok(parts)
}

/// Reads the next chunk of a body; none at its end.
pub(super) async fn read_chunk(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, FrameError> {
    let length = read_length(stream).await?;
    if length > MAX_CHUNK {
        return Err(FrameError::ChunkTooLong);
    }
    if length == 0 {
        return Ok(None);
    }
    let mut chunk = vec![0; length];
    stream.read_exact(&mut chunk).await?;
    Ok(Some(chunk))
}

async fn read_head<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, FrameError> {
    let length = read_length(stream).await?;
    if length > MAX_HEAD {
        return Err(FrameError::HeadTooLong);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    let mut rest = bytes.as_slice();
    let head = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|_| FrameError::Head("not the expected CBOR"))?;
    if rest.is_empty() {
        Ok(head)
    } else {
        Err(FrameError::Head("bytes after the CBOR"))
    }
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> Result<usize, FrameError> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await?;
    usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| FrameError::ChunkTooLong)
}

fn read_target(target: String) -> Result<Uri, FrameError> {
    if target.len() > MAX_TARGET || !target.starts_with('/') {
        return Err(FrameError::Head("target"));
    }
    let uri = Uri::try_from(target).map_err(|_| FrameError::Head("target"))?;
    if uri.authority().is_some() {
        Err(FrameError::Head("target"))
    } else {
        Ok(uri)
    }
}

fn read_headers(headers: Vec<(String, String)>) -> Result<HeaderMap, FrameError> {
    if headers.len() > MAX_HEADERS {
        return Err(FrameError::Head("too many headers"));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| FrameError::Head("header name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| FrameError::Head("header value"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Headers as they are written: those whose values are text, which every header of the API is.
fn written_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().filter_map(text).take(MAX_HEADERS).collect()
}

/// A message that is being written, in pieces of about a chunk, so that a small one is one piece.
pub(super) struct Message {
    piece: Vec<u8>,
}

impl Message {
    /// An answer without a body so far.
    pub(super) fn answer<T>(response: &Response<T>) -> Result<Self, FrameError> {
        let headers = written_headers(response.headers());
        Self::new(&ResponseHead(response.status().as_u16(), headers))
    }

    fn new(head: &impl Serialize) -> Result<Self, FrameError> {
        let mut piece = vec![0; 4];
        ciborium::into_writer(head, &mut piece).map_err(|_| FrameError::Head("not serialisable"))?;
        let length = piece.len() - 4;
        if length > MAX_HEAD {
            return Err(FrameError::HeadTooLong);
        }
        write_length(&mut piece, length);
        Ok(Self { piece })
    }

    /// Adds to the body.
    pub(super) async fn add(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        body: &[u8],
    ) -> Result<(), FrameError> {
        let piece = &mut self.piece;
        for chunk in body.chunks(MAX_CHUNK) {
            if piece.len() + chunk.len() > MAX_CHUNK {
                stream.write_all(piece).await?;
                piece.clear();
            }
            let start = piece.len();
            piece.extend([0; 4]);
            write_length(piece.get_mut(start..).unwrap_or_default(), chunk.len());
            piece.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Ends the message and flushes.
    pub(super) async fn end(mut self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), FrameError> {
        self.piece.extend([0; 4]);
        stream.write_all(&self.piece).await?;
        Ok(stream.flush().await?)
    }
}

/// Writes `length`, which is at most 64 KiB, to the first four bytes of `place`.
fn write_length(place: &mut [u8], length: usize) {
    let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    place
        .iter_mut()
        .zip(bytes)
        .for_each(|(place, byte)| *place = byte);
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    /// The message that `bytes` are, read to its end.
    fn read_request(bytes: &[u8]) -> Result<Request<Bytes>, FrameError> {
        block_on(async {
            let mut stream = Cursor::new(bytes);
            let parts = read_request_head(&mut stream).await?;
            let mut body = Vec::new();
            while let Some(chunk) = read_chunk(&mut stream).await? {
                body.extend(chunk);
            }
            Ok(Request::from_parts(parts, body.into()))
        })
    }

    fn written(request: &Request<Bytes>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        block_on(write_request(&mut bytes, request)).unwrap();
        bytes.into_inner()
    }

    fn framed(head: &[u8]) -> Vec<u8> {
        [&u32::try_from(head.len()).unwrap().to_be_bytes(), head, &[0; 4]].concat()
    }

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    fn assert_same(left: &Request<Bytes>, right: &Request<Bytes>) {
        assert_eq!(left.method(), right.method());
        assert_eq!(left.uri(), right.uri());
        assert_eq!(left.headers(), right.headers());
        assert_eq!(left.body(), right.body());
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let body = Bytes::from(vec![7; 3 * MAX_CHUNK + 5]);
        let response = Response::builder()
            .status(404)
            .header("x-a", "b")
            .body(body.clone())
            .unwrap();
        let mut bytes = Cursor::new(Vec::new());
        block_on(write_response(&mut bytes, &response)).unwrap();
        bytes.set_position(0);
        let parts = block_on(read_response_head(&mut bytes)).unwrap();
        assert_eq!(
            (parts.status.as_u16(), &parts.headers["x-a"]),
            (404, &HeaderValue::from_static("b"))
        );
        let mut read = Vec::new();
        while let Some(chunk) = block_on(read_chunk(&mut bytes)).unwrap() {
            read.extend(chunk);
        }
        assert_eq!(read, body);
    }

    #[test]
    fn seeds_of_the_fuzz_target_hold() {
        let seeds = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/framing")).unwrap();
        let seeds: Vec<_> = seeds
            .map(|seed| std::fs::read(seed.unwrap().path()).unwrap())
            .collect();
        assert!(!seeds.is_empty());
        seeds
            .iter()
            .for_each(|seed| crate::federation::framing::check(seed));
    }

    #[test]
    fn a_small_message_is_written_at_once() {
        let request = Request::get("/a").body(Bytes::from_static(b"{}")).unwrap();
        assert!(written(&request).len() < 40, "no padding, nothing said twice");
    }

    #[test]
    fn heads_of_other_shapes_are_refused() {
        let headers: [(&str, &str); 0] = [];
        let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("a", "b")).collect();
        let refused = [
            b"garbage".to_vec(),
            Vec::new(),
            cbor(&"text"),
            cbor(&("GET", "/")),
            cbor(&("GET", "/", headers, 1)),
            cbor(&(1, "/", headers)),
            cbor(&("GET", 1, headers)),
            cbor(&("GET", "/", "headers")),
            cbor(&("GET", "/", [("a", 1)])),
            cbor(&("G T", "/", headers)),
            cbor(&("GET", "a", headers)),
            cbor(&("GET", "", headers)),
            cbor(&("GET", "http://a/", headers)),
            cbor(&("GET", "/".repeat(MAX_TARGET + 1), headers)),
            cbor(&("GET", "/", [("a b", "c")])),
            cbor(&("GET", "/", [("a", "b\r\nc: d")])),
            cbor(&("GET", "/", many)),
            [cbor(&("GET", "/", headers)), vec![0]].concat(),
            [0x81].repeat(1000),
        ];
        for head in refused {
            let result = read_request(&framed(&head));
            assert!(matches!(result, Err(FrameError::Head(_))), "{head:?}: {result:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_read() {
        let mut head = u32::try_from(MAX_HEAD + 1).unwrap().to_be_bytes().to_vec();
        assert!(matches!(read_request(&head), Err(FrameError::HeadTooLong)));
        head = written(&Request::get("/").body(Bytes::new()).unwrap());
        head.truncate(head.len() - 4);
        head.extend(u32::MAX.to_be_bytes());
        assert!(matches!(read_request(&head), Err(FrameError::ChunkTooLong)));
    }

    #[test]
    fn a_head_that_is_too_long_is_not_written() {
        let value = HeaderValue::try_from("a".repeat(MAX_HEAD)).unwrap();
        let request = Request::get("/").header("a", value).body(Bytes::new()).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        assert!(matches!(
            block_on(write_request(&mut bytes, &request)),
            Err(FrameError::HeadTooLong)
        ));
        assert!(bytes.into_inner().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read_request(&bytes);
            let _ = read_request(&framed(&bytes));
        }

        #[test]
        fn any_request_comes_back_as_it_was(
            method in "GET|PUT|POST|DELETE",
            target in "/[a-zA-Z0-9_/%~.-]{0,60}(\\?[a-z0-9=&]{0,30})?",
            headers in prop::collection::vec(("[a-z][a-z0-9-]{0,10}", "[ -~]{0,30}"), 0..8),
            body in prop::collection::vec(any::<u8>(), 0..140_000),
        ) {
            let mut builder = Request::builder().method(method.as_str()).uri(target);
            for (name, value) in headers {
                builder = builder.header(name, value);
            }
            let request = builder.body(Bytes::from(body)).unwrap();
            assert_same(&request, &read_request(&written(&request)).unwrap());
        }

        #[test]
        fn a_message_cut_short_is_no_message(cut in 1usize..200, body in prop::collection::vec(any::<u8>(), 200)) {
            let request = Request::put("/a").body(Bytes::from(body)).unwrap();
            let mut bytes = written(&request);
            bytes.truncate(bytes.len() - cut);
            prop_assert!(matches!(read_request(&bytes), Err(FrameError::Io(_))));
        }
    }
}
