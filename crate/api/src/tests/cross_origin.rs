//! Cross-origin headers, unknown paths and methods, and what a federation channel may ask.

use bytes::Bytes;
use http::{Method, Request};

use super::server::{Answer, TestServer};
use crate::{ApiConfig, Body, Source};

fn assert_cross_origin(answer: &Answer) {
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(
        header("access-control-allow-methods"),
        "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    );
    assert_eq!(
        header("access-control-allow-headers"),
        "X-Requested-With, Content-Type, Authorization"
    );
}

#[tokio::test]
async fn every_answer_is_for_any_origin() {
    let server = TestServer::new().await;
    for path in ["/_matrix/client/versions", "/_matrix/client/v3/sync", "/nothing"] {
        assert_cross_origin(&server.get(path).await);
        let preflight = server.raw(&Method::OPTIONS, path, None, Bytes::new()).await;
        assert_eq!(preflight.status, 204);
        assert_cross_origin(&preflight);
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = TestServer::new().await;
    for (path, status) in [
        ("/_matrix/client/versions", 200),
        ("/_matrix/client/v3/sync", 401),
        ("/nothing", 404),
    ] {
        let (get, head) = (
            server.get(path).await,
            server.raw(&Method::HEAD, path, None, Bytes::new()).await,
        );
        assert_eq!(
            (head.status.as_u16(), get.status.as_u16()),
            (status, status),
            "{path}"
        );
        assert_eq!(head.headers, get.headers, "{path}");
        assert!(head.body.is_null() && !get.body.is_null(), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    let server = TestServer::new().await;
    server
        .get("/_matrix/client/v3/nothing")
        .await
        .fails(404, "M_UNRECOGNIZED");
    server.get("/").await.fails(404, "M_UNRECOGNIZED");
    let patch = server
        .raw(&Method::PATCH, "/_matrix/client/v3/sync", None, Bytes::new())
        .await;
    patch.fails(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn a_federation_channel_does_not_reach_the_client_api() {
    let server = TestServer::new().await;
    for path in [
        "/_matrix/client/versions",
        "/_matrix/client/v3/login",
        "/.well-known/matrix/client",
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        server
            .send_from(request, Source::Federation)
            .await
            .fails(404, "M_UNRECOGNIZED");
    }
    let request = Request::get("/_matrix/key/v2/server")
        .body(Body::empty())
        .unwrap();
    let keys = server.send_from(request, Source::Federation).await.ok();
    assert_eq!(keys["server_name"], server.name.as_str());
}

#[tokio::test]
async fn the_well_known_file_is_there_if_it_is_configured() {
    let server = TestServer::new().await;
    server
        .get("/.well-known/matrix/client")
        .await
        .fails(404, "M_NOT_FOUND");
    let config = ApiConfig {
        base_url: Some(Box::new(|_| Some("https://here.example".into()))),
        ..ApiConfig::default()
    };
    let server = TestServer::with(hearth_homeserver::Config::default(), config).await;
    let file = server.get("/.well-known/matrix/client").await.ok();
    assert_eq!(file["m.homeserver"]["base_url"], "https://here.example");
}
