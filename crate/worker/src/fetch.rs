//! Between the browser's `Request` and `Response` and the types of the `http` crate.
//!
//! Bodies are bytes and pass through as they come: a request's body is given or read as it is consumed, an answer's
//! body is produced as it is read. A body that is wholly in memory already is handed over as a stream of one chunk:
//! Chromium makes a blob of bytes, in another process, which costs a millisecond for the shortest and as much as all the rest
//! for 1 MiB.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::oneshot, stream};
use hearth_api::{Body, BodyError};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, prelude::*};
use web_sys::{
    AbortSignal, ReadableStream, ReadableStreamDefaultController, ReadableWritablePair, ResponseInit,
    StreamPipeOptions, TransformStream,
};

/// Why a request of the page is no request that a homeserver can be asked.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    /// The URL or method breaks the grammar of HTTP.
    #[error("the request is malformed: {0}")]
    Malformed(#[from] http::Error),
}

/// The `http` form of the page's `request`. Its URI is a path and query. Its body is `read` if that is given,
/// and is read from `request` as it is consumed otherwise.
///
/// # Errors
/// [`InvalidRequest`] if its URL or method is none of HTTP's.
pub fn request(
    request: &web_sys::Request,
    read: Option<Uint8Array>,
) -> Result<Request<Body>, InvalidRequest> {
    let mut converted = Request::builder()
        .method(request.method().as_str())
        .uri(path_and_query(&request.url())?)
        .body(read.map_or_else(|| body(request), |read| Body::from(read.to_vec())))?;
    for (name, value) in entries(&request.headers()) {
        // The browser has checked both already.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            converted.headers_mut().append(name, value);
        }
    }
    Ok(converted)
}

/// The path and query of an absolute URL as browsers write it.
fn path_and_query(url: &str) -> Result<Uri, http::Error> {
    let after_scheme = url.find("://").map_or(0, |index| index + 3);
    let start = url[after_scheme..]
        .find('/')
        .map_or(url.len(), |index| after_scheme + index);
    let end = url.find('#').unwrap_or(url.len()).max(start);
    Ok(url[start..end].parse::<Uri>()?)
}

fn entries(headers: &web_sys::Headers) -> impl Iterator<Item = (String, String)> {
    js_sys::try_iter(headers)
        .ok()
        .flatten()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry: Array = entry.ok()?.dyn_into().ok()?;
            Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
        })
}

fn body(request: &web_sys::Request) -> Body {
    if matches!(request.method().as_str(), "GET" | "HEAD") {
        return Body::empty();
    }
    match request.body() {
        Some(raw) => streamed_body(raw),
        None => whole_body(request),
    }
}

fn streamed_body(raw: ReadableStream) -> Body {
    let chunks = wasm_streams::ReadableStream::from_raw(raw.unchecked_into()).into_stream();
    Body::stream(chunks.map(|chunk| chunk.as_ref().map(bytes).map_err(aborted)))
}

/// For browsers that do not show the body of a request as a stream.
fn whole_body(request: &web_sys::Request) -> Body {
    let reading = request.array_buffer();
    Body::stream(stream::once(async move {
        let buffer = wasm_bindgen_futures::JsFuture::from(reading.map_err(|error| aborted(&error))?).await;
        buffer.as_ref().map(bytes).map_err(aborted)
    }))
}

/// The bytes of a `Uint8Array` or an `ArrayBuffer`.
fn bytes(value: &JsValue) -> Bytes {
    Uint8Array::new(value).to_vec().into()
}

fn aborted(error: &JsValue) -> BodyError {
    BodyError::Aborted(format!("{error:?}"))
}

/// Completes when `signal` is aborted; never if it is not.
pub async fn abortion(signal: AbortSignal) {
    if signal.aborted() {
        return;
    }
    let (tell, told) = oneshot::channel::<()>();
    let mut tell = Some(tell);
    let callback = Closure::<dyn FnMut()>::new(move || drop(tell.take()));
    signal.set_onabort(Some(callback.as_ref().unchecked_ref()));
    let _reset = Reset(signal, callback);
    // The sender is dropped by the callback, and by nothing else.
    let _ = told.await;
}

/// Takes the callback off the signal before it is freed.
struct Reset(
    AbortSignal,
    #[allow(dead_code, reason = "kept alive for the browser")] Closure<dyn FnMut()>,
);

impl Drop for Reset {
    fn drop(&mut self) {
        self.0.set_onabort(None);
    }
}

/// The browser's form of `response`. A streamed body breaks off when `death` is aborted.
///
/// # Errors
/// What the browser threw: it accepts every status from 200 to 599.
pub fn response(response: Response<Body>, death: &AbortSignal) -> Result<web_sys::Response, JsValue> {
    let (parts, body) = response.into_parts();
    let init = ResponseInit::new();
    init.set_status(parts.status.as_u16());
    init.set_status_text(parts.status.canonical_reason().unwrap_or_default());
    let headers = web_sys::Headers::new()?;
    for (name, value) in &parts.headers {
        headers.append(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
    }
    init.set_headers(&headers);
    let body = match Content::of(body) {
        _ if is_bodiless(parts.status) => None,
        Content::Whole(bytes) if bytes.is_empty() => None,
        Content::Whole(bytes) => Some(one_chunk(&bytes)?),
        Content::Streamed(body) => Some(readable(body, death)?),
    };
    web_sys::Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init)
}

/// Statuses that a browser accepts only without a body (Fetch standard, "null body status").
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 101 | 103 | 204 | 205 | 304)
}

/// What is known of a body without waiting.
enum Content {
    Whole(Bytes),
    Streamed(Body),
}

impl Content {
    fn of(mut body: Body) -> Self {
        let first = match body.next().now_or_never() {
            Some(None) => return Self::Whole(Bytes::new()),
            Some(Some(Ok(first))) => first,
            Some(Some(Err(error))) => return Self::Streamed(Body::stream(stream::iter([Err(error)]))),
            None => return Self::Streamed(body),
        };
        match body.next().now_or_never() {
            Some(None) => Self::Whole(first),
            Some(Some(second)) => Self::Streamed(Body::stream(stream::iter([Ok(first), second]).chain(body))),
            None => Self::Streamed(Body::stream(stream::iter([Ok(first)]).chain(body))),
        }
    }
}

/// A stream that holds `bytes` and needs nobody any more.
fn one_chunk(bytes: &[u8]) -> Result<ReadableStream, JsValue> {
    let chunk = Uint8Array::from(bytes);
    // The stream calls it before its constructor returns.
    let start = Closure::once(move |stream: ReadableStreamDefaultController| {
        stream.enqueue_with_chunk(&chunk)?;
        stream.close()
    });
    let source = Object::new();
    Reflect::set(&source, &"start".into(), start.as_ref())?;
    ReadableStream::new_with_underlying_source(&source)
}

/// A stream that asks `body` for a chunk only when it is asked for one, and drops it when it is cancelled.
fn readable(body: Body, death: &AbortSignal) -> Result<ReadableStream, JsValue> {
    let chunks = body.map(|chunk| match chunk {
        Ok(bytes) => Ok(Uint8Array::from(&bytes[..]).into()),
        Err(error) => Err(JsError::new(&error.to_string()).into()),
    });
    let raw: ReadableStream = wasm_streams::ReadableStream::from_stream(chunks)
        .into_raw()
        .unchecked_into();
    let through = TransformStream::new()?;
    let options = StreamPipeOptions::new();
    options.set_signal(death);
    let pair = ReadableWritablePair::new(&through.readable(), &through.writable());
    Ok(raw.pipe_through_with_options(&pair, &options))
}
