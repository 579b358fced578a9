//! Plain HTTP around the API, with bodies streamed both ways.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    response::IntoResponse as _,
    routing::any,
};
use futures::StreamExt as _;
use hearth_api::{Api, BodyError, ClientAddress, Source};
use http::{Request, Response, StatusCode, header};
use tower_http::timeout::RequestBodyTimeoutLayer;

/// How long a client may take to send one more piece of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Every path goes to the API; it knows what is not there.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .fallback(any(answer))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .with_state(api)
}

async fn answer(State(api): State<Api>, mut request: Request<Body>) -> Response<Body> {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = authority.as_str().parse()
    {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(ClientAddress(address.ip()));
    }
    let may_be_abandoned = hearth_api::may_be_abandoned(request.method(), request.uri().path());
    let answer = async move { api.handle(request.map(streamed), Source::Client).await };
    if may_be_abandoned {
        return answer.await.map(Body::from_stream);
    }
    // What changes something runs to its end, whether or not anybody waits for the answer.
    match tokio::spawn(answer).await {
        Ok(answer) => answer.map(Body::from_stream),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn streamed(body: Body) -> hearth_api::Body {
    let chunks = body.into_data_stream();
    hearth_api::Body::stream(chunks.map(|chunk| chunk.map_err(|error| BodyError::Aborted(error.to_string()))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::Arc;

    use futures::{FutureExt as _, stream};
    use hearth_api::ApiConfig;
    use hearth_homeserver::{Config, Homeserver, Identity};
    use hearth_storage::RedbStore;
    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    use super::*;

    async fn open(folder: &TempDir) -> Router {
        let store = RedbStore::open(folder.path().join("database")).unwrap();
        let seams = super::super::seams(Arc::new(store), None);
        let identity = Identity::load_or_create(&*seams.store, &*seams.rng)
            .await
            .unwrap();
        let config = Config {
            open_registration: true,
            ..Config::default()
        };
        let homeserver = Homeserver::open(seams, identity, config).await.unwrap();
        router(Api::new(homeserver, ApiConfig::default()))
    }

    async fn ask(router: &Router, method: &str, path: &str, token: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/_matrix/client/v3/{path}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let (status, body) = (answer.status(), answer.into_body());
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn what_is_changed_is_changed_though_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let router = open(&folder).await;
        let wish = |name: &str| json!({"username": name, "auth": {"type": "m.login.dummy"}});
        let (_, account) = ask(&router, "POST", "register", "", wish("ann")).await;
        let token = account["access_token"].as_str().unwrap();
        // The store has a thread of its own, so that nobody has an answer at once.
        let asked = ask(&router, "POST", "logout", token, json!({})).now_or_never();
        assert_eq!(asked, None);
        tokio::task::yield_now().await;
        // It stores one after the other: with this the other is stored.
        ask(&router, "POST", "register", "", wish("bob")).await;
        let mut status = StatusCode::OK;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            status = ask(&router, "GET", "account/whoami", token, json!({})).await.0;
            if status != StatusCode::OK {
                break;
            }
        }
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let router = open(&folder).await;
        let begun = stream::iter([Ok::<_, BodyError>("{")]).chain(stream::pending());
        let request = Request::post("/_matrix/client/v3/login").body(Body::from_stream(begun));
        let answer = tokio::time::timeout(2 * BODY_TIMEOUT, router.oneshot(request.unwrap()));
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
    }
}
