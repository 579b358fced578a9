//! Plain HTTP around the API, with bodies streamed both ways.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    response::IntoResponse as _,
    routing::any,
};
use futures::StreamExt as _;
use hearth_api::{Api, BodyError, ClientAddress, Source};
use http::{Request, Response, StatusCode};

/// Every path goes to the API; it knows what is not there.
pub(super) fn router(api: Api) -> Router {
    Router::new().fallback(any(answer)).with_state(api)
}

async fn answer(State(api): State<Api>, mut request: Request<Body>) -> Response<Body> {
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(ClientAddress(address.ip()));
    }
    // A sliding sync that nobody waits for would go on noting what its client was told.
    let is_safe = request.method().is_safe() || request.uri().path().ends_with("/sync");
    let answer = async move { api.handle(request.map(streamed), Source::Client).await };
    if is_safe {
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use hearth_api::ApiConfig;
    use hearth_homeserver::{Config, Homeserver, Identity};
    use hearth_storage::{
        BoxFuture, Direction, Entry, KeyRange, MemoryStore, Store, StoreError, Table, WriteBatch,
    };
    use serde_json::{Value, json};
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    /// A store that can be told to hold back the next batch.
    #[derive(Default)]
    struct Gate {
        rows: MemoryStore,
        is_closed: AtomicBool,
        reached: Notify,
        opened: Notify,
    }

    impl Store for Gate {
        fn get<'a>(
            &'a self,
            table: Table,
            key: &'a [u8],
        ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
            self.rows.get(table, key)
        }

        fn get_many<'a>(
            &'a self,
            table: Table,
            keys: &'a [Vec<u8>],
        ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
            self.rows.get_many(table, keys)
        }

        fn scan(
            &self,
            table: Table,
            range: KeyRange,
            direction: Direction,
            limit: usize,
        ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
            self.rows.scan(table, range, direction, limit)
        }

        fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
            Box::pin(async move {
                if self.is_closed.swap(false, Ordering::Relaxed) {
                    self.reached.notify_one();
                    self.opened.notified().await;
                }
                self.rows.commit(batch).await
            })
        }
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
        let store = Arc::new(Gate::default());
        let seams = super::super::seams(store.clone(), None);
        let identity = Identity::load_or_create(&*seams.store, &*seams.rng)
            .await
            .unwrap();
        let config = Config {
            open_registration: true,
            ..Config::default()
        };
        let homeserver = Homeserver::open(seams, identity, config).await.unwrap();
        let router = router(Api::new(homeserver, ApiConfig::default()));
        let wish = json!({"username": "ann", "auth": {"type": "m.login.dummy"}});
        let (_, account) = ask(&router, "POST", "register", "", wish).await;
        let token = account["access_token"].as_str().unwrap();
        store.is_closed.store(true, Ordering::Relaxed);
        tokio::select! {
            biased;
            answer = ask(&router, "POST", "logout", token, json!({})) => panic!("{answer:?}"),
            () = store.reached.notified() => {}
        }
        store.opened.notify_one();
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
}
