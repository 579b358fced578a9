//! What the Server-Server API answers without a signature, and to one that is forged.

use http::Request;
use serde_json::json;

use super::server::TestServer;
use crate::{Body, Source};

#[tokio::test]
async fn version_and_keys_are_public() {
    let server = TestServer::new().await;
    let version = server.get("/_matrix/federation/v1/version").await.ok();
    assert_eq!(version["server"]["name"], "Hearth");
    let keys = server.get("/_matrix/key/v2/server").await.ok();
    assert!(keys["verify_keys"]["ed25519:1"]["key"].is_string());
    assert!(keys["signatures"][&server.name].is_object());
}

#[tokio::test]
async fn a_forged_signature_is_refused_and_stores_nothing() {
    let server = TestServer::new().await;
    let before = server.dump().await;
    let origin = "a".repeat(64);
    let forged = format!(
        "X-Matrix origin=\"{origin}\",destination=\"{}\",key=\"ed25519:1\",sig=\"{}\"",
        server.name,
        "A".repeat(86)
    );
    for header in [
        forged.as_str(),
        "X-Matrix",
        "X-Matrix origin=,key=,sig=",
        "Bearer x",
        "",
    ] {
        let body = json!({"origin": origin, "origin_server_ts": 1, "pdus": []}).to_string();
        let request = Request::put("/_matrix/federation/v1/send/1").header("authorization", header);
        let request = request.body(Body::from(body)).unwrap();
        server
            .send_from(request, Source::Federation)
            .await
            .fails_at(header, 401, "M_UNAUTHORIZED");
    }
    assert_eq!(server.dump().await, before);
}
