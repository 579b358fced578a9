//! Plain HTTP around the API, with bodies streamed both ways.
//!
//! Whoever sends a body need not have proven anything when it is read. So there is a bound on what all together may
//! have the homeserver hold, and on how long it waits for the end of what it holds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{ConnectInfo, State},
    response::IntoResponse as _,
    routing::any,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hearth_api::{Api, BodyError, ClientAddress, Source, longest_body, may_be_abandoned};
use http::{Request, Response, StatusCode, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// How long a client may take to send one more piece of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send a body that is held until it is whole.
const HELD_TIMEOUT: Duration = Duration::from_secs(60);
/// The bytes of such bodies that are held at once, each until its request is answered. Read as JSON, they take up to
/// twelve times as much.
const HELD: usize = 32 << 20;
/// A body of so many bytes is not counted: most have less, and the number of connections bounds them.
const SHORT: usize = 64 << 10;

#[derive(Clone)]
struct Shared {
    api: Api,
    /// A permit for each byte.
    room: Arc<Semaphore>,
}

/// Every path goes to the API; it knows what is not there.
pub(super) fn router(api: Api) -> Router {
    let room = Arc::new(Semaphore::new(HELD));
    Router::new()
        .fallback(any(answer))
        .with_state(Shared { api, room })
}

async fn answer(State(Shared { api, room }): State<Shared>, mut request: Request<Body>) -> Response<Body> {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = authority.as_str().parse()
    {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(ClientAddress(address.ip()));
    }
    let may_be_abandoned = may_be_abandoned(request.method(), request.uri().path());
    let (request, held) = read(request, room);
    let answer = async move {
        let answer = api.handle(request, Source::Client).await;
        drop(held);
        answer
    };
    if may_be_abandoned {
        return answer.await.map(Body::from_stream);
    }
    // What changes something runs to its end, whether or not anybody waits for the answer.
    match tokio::spawn(answer).await {
        Ok(answer) => answer.map(Body::from_stream),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The request with its body as the API reads it, and the room that this takes; without room the body cannot be read.
fn read(
    request: Request<Body>,
    room: Arc<Semaphore>,
) -> (Request<hearth_api::Body>, Option<OwnedSemaphorePermit>) {
    let longest = longest_body(request.uri().path());
    let announced = request.body().size_hint().upper().unwrap_or(u64::MAX);
    let length = usize::try_from(announced).unwrap_or(usize::MAX).min(longest);
    let counted = u32::try_from(if length > SHORT { length } else { 0 });
    let held = counted
        .ok()
        .and_then(|bytes| room.try_acquire_many_owned(bytes).ok());
    let end = (longest > 0).then(|| Instant::now() + HELD_TIMEOUT);
    let request = request.map(|body| match held {
        Some(_) => hearth_api::Body::stream(streamed(body, end)),
        None => hearth_api::Body::stream(stream::iter([Err(BodyError::NoRoom)])),
    });
    (request, held)
}

/// The chunks of `body`: each is waited for, and none longer than to `end`.
fn streamed(body: Body, end: Option<Instant>) -> impl Stream<Item = Result<Bytes, BodyError>> {
    stream::unfold(Some(body.into_data_stream()), move |chunks| async move {
        let mut chunks = chunks?;
        let patience = Instant::now() + BODY_TIMEOUT;
        let chunk = match timeout_at(end.map_or(patience, |end| end.min(patience)), chunks.next()).await {
            Ok(chunk) => chunk?.map_err(|error| error.to_string()),
            Err(_) => Err("it came too slowly".into()),
        };
        let goes_on = chunk.is_ok().then_some(chunks);
        Some((chunk.map_err(BodyError::Aborted), goes_on))
    })
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

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let router = open(&folder).await;
        let slow = stream::repeat(()).then(async |()| {
            tokio::time::sleep(BODY_TIMEOUT / 2).await;
            Ok::<_, BodyError>(" ")
        });
        let request = Request::post("/_matrix/client/v3/login").body(Body::from_stream(slow));
        let answer = tokio::time::timeout(2 * HELD_TIMEOUT, router.oneshot(request.unwrap()));
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_bodies_are_held_as_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let router = open(&folder).await;
        let send = || {
            let body = Body::from_stream(stream::pending::<Result<&str, BodyError>>());
            let request = Request::put("/_matrix/federation/v1/send/1").body(body).unwrap();
            router.clone().oneshot(request)
        };
        let places = HELD / longest_body("/_matrix/federation/v1/send/1");
        let waiting: Vec<_> = (0..places).map(|_| tokio::spawn(send())).collect();
        tokio::task::yield_now().await;
        assert_eq!(send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        // There is always room for a short one, and for files.
        let (status, _) = ask(&router, "POST", "login", "", json!({})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let file = Request::post("/_matrix/media/v3/upload").body(Body::from(vec![0; 2 * SHORT]));
        let answer = router.clone().oneshot(file.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        for answer in waiting {
            assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
        }
        let status = tokio::time::timeout(2 * HELD_TIMEOUT, send())
            .await
            .unwrap()
            .unwrap()
            .status();
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}
