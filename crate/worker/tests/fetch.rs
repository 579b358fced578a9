//! Bodies between the page and the homeserver, in a real service worker.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use hearth_api::{Body, BodyError};
use hearth_worker::fetch;
use http::{Response, StatusCode};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{AbortController, RequestInit};

wasm_bindgen_test_configure!(run_in_service_worker);

const URL: &str = "https://hearth.example/_matrix/client/v3/x?a=%2F&b=%20#fragment";

/// Every byte value, so that no text encoding survives it.
fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

fn undying() -> web_sys::AbortSignal {
    AbortController::new().unwrap().signal()
}

fn answer(body: Body) -> web_sys::Response {
    fetch::response(Response::new(body), &undying()).unwrap()
}

async fn read(response: &web_sys::Response) -> Result<Vec<u8>, JsValue> {
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

fn posting(body: &JsValue) -> web_sys::Request {
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(body);
    js_sys::Reflect::set(&init, &"duplex".into(), &"half".into()).unwrap();
    web_sys::Request::new_with_str_and_init(URL, &init).unwrap()
}

/// A JavaScript stream of these chunks, as a page would make one.
fn page_stream(chunks: Vec<Result<JsValue, JsValue>>) -> JsValue {
    wasm_streams::ReadableStream::from_stream(stream::iter(chunks))
        .into_raw()
        .unchecked_into()
}

#[wasm_bindgen_test]
fn a_request_keeps_method_path_and_headers() {
    let request = posting(&"{}".into());
    request.headers().append("X-Several", "one").unwrap();
    request.headers().append("X-Several", "two").unwrap();
    let converted = fetch::request(&request, None).unwrap();
    assert_eq!(converted.method(), http::Method::POST);
    assert_eq!(converted.uri(), "/_matrix/client/v3/x?a=%2F&b=%20");
    assert_eq!(converted.headers()["x-several"], "one, two");
}

#[wasm_bindgen_test]
async fn a_binary_request_arrives_as_it_was_sent() {
    let body = Uint8Array::from(&every_byte()[..]);
    let converted = fetch::request(&posting(&body), None).unwrap();
    assert_eq!(converted.into_body().collect(256).await.unwrap(), every_byte());
}

#[wasm_bindgen_test]
async fn a_body_that_was_read_already_is_taken_instead() {
    let read = Uint8Array::from(&every_byte()[..]);
    let converted = fetch::request(&posting(&"{}".into()), Some(read)).unwrap();
    assert_eq!(converted.into_body().collect(256).await.unwrap(), every_byte());
}

#[wasm_bindgen_test]
async fn a_streamed_request_arrives_in_its_chunks() {
    let chunk = |byte: u8| Ok(Uint8Array::from(&[byte; 3][..]).into());
    let request = posting(&page_stream(vec![chunk(0), chunk(255)]));
    let mut body = fetch::request(&request, None).unwrap().into_body();
    assert_eq!(body.next().await.unwrap().unwrap(), [0; 3][..]);
    assert_eq!(body.next().await.unwrap().unwrap(), [255; 3][..]);
    assert!(body.next().await.is_none());
}

#[wasm_bindgen_test]
async fn a_request_that_breaks_off_is_an_error() {
    let chunks = vec![Ok(Uint8Array::from(&[1][..]).into()), Err("gone".into())];
    let body = fetch::request(&posting(&page_stream(chunks)), None)
        .unwrap()
        .into_body();
    assert!(matches!(body.collect(100).await, Err(BodyError::Aborted(_))));
}

#[wasm_bindgen_test]
async fn an_answer_in_memory_is_given_whole() {
    assert_eq!(read(&answer(every_byte().into())).await.unwrap(), every_byte());
    assert!(read(&answer(Body::empty())).await.unwrap().is_empty());
}

#[wasm_bindgen_test]
async fn a_streamed_answer_arrives_as_it_was_sent() {
    let chunks = (0..64).map(|_| Ok(Bytes::from(every_byte())));
    let response = answer(Body::stream(stream::iter(chunks.collect::<Vec<_>>())));
    assert_eq!(read(&response).await.unwrap(), every_byte().repeat(64));
}

#[wasm_bindgen_test]
async fn an_answer_is_produced_only_as_it_is_read() {
    let produced = Rc::new(Cell::new(0));
    let count = produced.clone();
    let endless = stream::repeat_with(move || {
        count.set(count.get() + 1);
        Ok(Bytes::from_static(b"chunk"))
    });
    let response = answer(Body::stream(endless));
    let reader: web_sys::ReadableStreamDefaultReader = response.body().unwrap().get_reader().unchecked_into();
    for _ in 0..3 {
        JsFuture::from(reader.read()).await.unwrap();
    }
    assert!(
        (3..16).contains(&produced.get()),
        "{} chunks were made for 3 that were read",
        produced.get()
    );
    JsFuture::from(reader.cancel()).await.unwrap();
}

/// Says when it is dropped.
struct Witness(Rc<Cell<bool>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[wasm_bindgen_test]
async fn an_answer_that_nobody_reads_on_is_dropped() {
    let dropped = Rc::new(Cell::new(false));
    let witness = Witness(dropped.clone());
    let endless = stream::repeat_with(move || {
        let _kept = &witness;
        Ok(Bytes::from_static(b"chunk"))
    });
    let response = answer(Body::stream(endless));
    let reader: web_sys::ReadableStreamDefaultReader = response.body().unwrap().get_reader().unchecked_into();
    JsFuture::from(reader.read()).await.unwrap();
    JsFuture::from(reader.cancel()).await.unwrap();
    assert!(dropped.get());
}

#[wasm_bindgen_test]
async fn a_streamed_answer_breaks_off_with_its_instance() {
    let death = AbortController::new().unwrap();
    let first = stream::iter([Ok(Bytes::from_static(b"first"))]);
    let body = Body::stream(first.chain(stream::pending()));
    let response = fetch::response(Response::new(body), &death.signal()).unwrap();
    let reading = read(&response);
    death.abort();
    assert!(reading.await.is_err());
}

#[wasm_bindgen_test]
async fn an_answer_that_fails_is_an_error_for_its_reader() {
    let chunks = [
        Ok(Bytes::from_static(b"a")),
        Err(BodyError::Aborted("lost".into())),
    ];
    assert!(read(&answer(Body::stream(stream::iter(chunks)))).await.is_err());
}

#[wasm_bindgen_test]
fn statuses_and_headers_are_kept() {
    for status in [
        StatusCode::OK,
        StatusCode::NO_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::NOT_FOUND,
    ] {
        let converted = Response::builder()
            .status(status)
            .header("X-Kept", "yes")
            .body(Body::empty())
            .unwrap();
        let response = fetch::response(converted, &undying()).unwrap();
        assert_eq!(response.status(), status.as_u16());
        assert_eq!(response.headers().get("x-kept").unwrap().unwrap(), "yes");
    }
}

#[wasm_bindgen_test]
async fn an_abortion_is_noticed() {
    let controller = AbortController::new().unwrap();
    let noticed = Rc::new(RefCell::new(Vec::new()));
    let (notice, signal) = (noticed.clone(), controller.signal());
    let waiting = wasm_bindgen_futures::future_to_promise(async move {
        fetch::abortion(signal).await;
        notice.borrow_mut().push("aborted");
        Ok(JsValue::UNDEFINED)
    });
    JsFuture::from(js_sys::Promise::resolve(&JsValue::UNDEFINED))
        .await
        .unwrap();
    assert!(noticed.borrow().is_empty());
    controller.abort();
    JsFuture::from(waiting).await.unwrap();
    assert_eq!(*noticed.borrow(), ["aborted"]);
    fetch::abortion(controller.signal()).await;
}
