//! Files: uploaded, announced, downloaded whole and in part.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hearth_homeserver::{Config, Federation, FederationError, Images, Picture, Scaled, Scaling};
use hearth_storage::{BoxFuture, Store as _, Table, WriteBatch};
use http::{Method, Request, Response};
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    platform::TestClock,
    server::{Answer, Client, Platform, TestServer},
};
use crate::{ApiConfig, Body, Source};

const UPLOAD: &str = "/_matrix/media/v3/upload";

/// Uploads to `path`, with a content type.
async fn upload(
    server: &TestServer,
    client: &Client<'_>,
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", client.token))
        .header("content-type", content_type);
    server.send(request.body(body.into()).unwrap()).await
}

/// `server/id` of the file that an answer names.
fn location(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn download(
    server: &TestServer,
    client: &Client<'_>,
    location: &str,
    range: Option<&str>,
) -> Response<Bytes> {
    let mut request = Request::builder()
        .uri(format!("/_matrix/client/v1/media/download/{location}"))
        .header("authorization", format!("Bearer {}", client.token));
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let request = request.body(Body::empty()).unwrap();
    server.file_from(request, Source::Client).await
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Bytes of which every part is another.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[tokio::test]
async fn a_file_comes_back_as_it_was() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let bytes = noise(700_000);
    let path = format!("{UPLOAD}?filename=a%20%E2%82%AC.png");
    let answer = upload(&server, &ann, Method::POST, &path, "image/png", bytes.clone()).await;
    let location = location(&answer.ok());
    let file = download(&server, &ann, &location, None).await;
    assert_eq!(file.status(), 200);
    assert_eq!(*file.body(), bytes);
    assert_eq!(header(&file, "content-type"), "image/png");
    assert_eq!(header(&file, "content-length"), "700000");
    assert_eq!(
        header(&file, "content-disposition"),
        "inline; filename*=utf-8''a%20%E2%82%AC.png"
    );
    assert_eq!(header(&file, "x-content-type-options"), "nosniff");
    assert!(header(&file, "content-security-policy").starts_with("sandbox;"));
    let renamed = download(&server, &ann, &format!("{location}/b.png"), None).await;
    assert_eq!(
        header(&renamed, "content-disposition"),
        "inline; filename*=utf-8''b.png"
    );
}

#[tokio::test]
async fn a_file_keeps_as_long_a_name_as_file_systems_have() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let name = "%D0%B6".repeat(200);
    let path = format!("{UPLOAD}?filename={name}");
    let answer = upload(&server, &ann, Method::POST, &path, "image/png", "x").await;
    let file = download(&server, &ann, &location(&answer.ok()), None).await;
    assert_eq!(
        header(&file, "content-disposition"),
        format!("inline; filename*=utf-8''{name}")
    );
}

#[tokio::test]
async fn the_same_file_twice_is_stored_once() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    // More than is committed at once: what is stored by then must go again.
    let send = || {
        upload(
            &server,
            &ann,
            Method::POST,
            UPLOAD,
            "text/plain",
            noise(2_500_000),
        )
    };
    let first = location(&send().await.ok());
    let before = server.dump().await;
    assert_eq!(location(&send().await.ok()), first);
    assert_eq!(server.dump().await, before);
    let other = upload(&server, &ann, Method::POST, UPLOAD, "text/html", noise(2_500_000)).await;
    let other = location(&other.ok());
    assert_ne!(other, first);
    let page = download(&server, &ann, &other, None).await;
    assert_eq!(header(&page, "content-disposition"), "attachment");
}

#[tokio::test]
async fn parts_of_a_file_are_sent() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    // More than is stored, or read, at once: 32 chunks of 63 KiB.
    let bytes = noise(4_500_000);
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "video/mp4", bytes.clone()).await;
    let location = location(&answer.ok());
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=64511-64512", 64_511..64_513),
        ("bytes=2064383-2064384", 2_064_383..2_064_385),
        ("bytes=100-4300000", 100..4_300_001),
        ("bytes=4438999-", 4_438_999..4_500_000),
        ("bytes=-5", 4_499_995..4_500_000),
    ] {
        let answer = download(&server, &ann, &location, Some(range)).await;
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(answer.body().as_ref(), &bytes[part.clone()], "{range}");
        let told = format!("bytes {}-{}/4500000", part.start, part.end - 1);
        assert_eq!(header(&answer, "content-range"), told);
    }
    let answer = download(&server, &ann, &location, Some("bytes=4500000-")).await;
    assert_eq!(answer.status(), 416);
    assert_eq!(header(&answer, "content-range"), "bytes */4500000");
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing() {
    let config = Config {
        max_upload_bytes: 2_500_000,
        ..Config::default()
    };
    let server = TestServer::with(config, ApiConfig::default()).await;
    let ann = server.register("ann").await;
    let before = server.dump().await;
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "a/b", noise(2_500_001)).await;
    answer.fails(413, "M_TOO_LARGE");
    let pieces = [
        Ok(noise(2_400_000).into()),
        Err(crate::BodyError::Aborted("gone".into())),
    ];
    let cut = Body::stream(futures::stream::iter(pieces));
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "a/b", cut).await;
    assert_eq!(answer.status, 400);
    let long = format!("{UPLOAD}?filename={}", "x".repeat(1025));
    let answer = upload(&server, &ann, Method::POST, &long, "a/b", noise(1)).await;
    answer.fails(400, "M_INVALID_PARAM");
    // What the failed ones stored is removed by a task.
    for _ in 0..1000 {
        if server.dump().await == before {
            return;
        }
        tokio::task::yield_now().await;
    }
    let media = |dump: &[(Table, _)]| dump.iter().filter(|(table, _)| *table == Table::Media).count();
    panic!("{} rows are left", media(&server.dump().await));
}

#[tokio::test]
async fn an_announced_file_is_waited_for() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let answer = ann.post("/_matrix/media/v1/create", Value::Null).await.ok();
    assert!(answer["unused_expires_at"].as_u64().unwrap() > 0);
    let location = location(&answer);
    let path = format!("/_matrix/media/v3/upload/{location}");
    let early = format!("{location}?timeout_ms=0");
    ann.get(&format!("/_matrix/client/v1/media/download/{early}"))
        .await
        .fails(504, "M_NOT_YET_UPLOADED");
    let put = |client, body: &'static str| upload(&server, client, Method::PUT, &path, "text/plain", body);
    put(&bob, "theirs").await.fails(403, "M_FORBIDDEN");
    let (file, answer) = futures::join!(download(&server, &bob, &location, None), put(&ann, "mine"));
    answer.ok();
    assert_eq!(file.body(), "mine");
    put(&ann, "again").await.fails(409, "M_CANNOT_OVERWRITE_MEDIA");
    let unknown = format!("/_matrix/media/v3/upload/{}/nothing", server.name);
    let answer = upload(&server, &ann, Method::PUT, &unknown, "text/plain", "x").await;
    answer.fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn of_two_uploads_for_one_announcement_the_second_is_told_so() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let location = location(&ann.post("/_matrix/media/v1/create", Value::Null).await.ok());
    let path = format!("/_matrix/media/v3/upload/{location}");
    let put = |body: Body| upload(&server, &ann, Method::PUT, &path, "text/plain", body);
    let (done, is_done) = futures::channel::oneshot::channel();
    let slow = futures::stream::once(async {
        is_done.await.unwrap();
        Ok("slow".into())
    });
    let quick = async {
        put("quick".into()).await.ok();
        done.send(()).unwrap();
    };
    let (slow, ()) = futures::join!(put(Body::stream(slow)), quick);
    slow.fails(409, "M_CANNOT_OVERWRITE_MEDIA");
    let file = download(&server, &ann, &location, None).await;
    assert_eq!(file.body(), "quick");
}

#[tokio::test]
async fn only_so_many_files_can_be_announced() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    for _ in 0..64 {
        ann.post("/_matrix/media/v1/create", Value::Null).await.ok();
    }
    let answer = ann.post("/_matrix/media/v1/create", Value::Null).await;
    answer.fails(429, "M_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    for id in ["nothing", "..", "%2e%2e%2f"] {
        let path = format!("/_matrix/client/v1/media/download/{}/{id}", server.name);
        ann.get(&path).await.fails(404, "M_NOT_FOUND");
    }
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "image/png", "no picture").await;
    let location = location(&answer.ok());
    let path = format!("/_matrix/client/v1/media/thumbnail/{location}");
    ann.get(&format!("{path}?width=10&height=10"))
        .await
        .fails(400, "M_UNKNOWN");
    ann.get(&format!("{path}?width=10"))
        .await
        .fails(400, "M_MISSING_PARAM");
    ann.get(&format!("{path}?width=0&height=1"))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.get(&format!("{path}?width=1&height=1&method=stretch"))
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn thumbnails_of_earlier_databases_go() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "image/jpeg", "no picture").await;
    let location = location(&answer.ok());
    let before = server.dump().await;
    let (name, id) = location.split_once('/').unwrap();
    let key = format!("t\0{id}\0{name}\x00320x240-scale").into_bytes();
    let record = format!(
        r#"{{"t":"image/jpeg","s":1,"b":"{}","k":64512,"c":1}}"#,
        "77".repeat(16)
    );
    let mut batch = WriteBatch::new();
    batch.put(Table::Media, key, record.into_bytes());
    batch.put(Table::Media, b"bwwwwwwwwwwwwwwww\0\0\0\0".to_vec(), vec![1]);
    server.store.commit(batch).await.unwrap();
    let path = format!("/_matrix/client/v1/media/thumbnail/{location}?width=10&height=10");
    ann.get(&path).await.fails(400, "M_UNKNOWN");
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn older_clients_find_files_without_a_token() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "text/plain", "hello").await;
    let location = location(&answer.ok());
    for prefix in ["/_matrix/media/v3", "/_matrix/media/r0"] {
        let request = Request::get(format!("{prefix}/download/{location}"));
        let request = request.body(Body::empty()).unwrap();
        let file = server.file_from(request, Source::Client).await;
        assert_eq!(file.body(), "hello");
    }
}

/// Another server, which has one file and gives it in pieces.
struct Giver {
    /// The length of the file, in bytes.
    size: usize,
    /// The length of a piece, in bytes.
    piece: usize,
    clock: Arc<TestClock>,
    /// How long it takes to give a piece.
    pause: Duration,
    /// How often it was asked.
    asked: AtomicUsize,
}

impl Giver {
    fn new(size: usize, piece: usize, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            size,
            piece,
            clock: Arc::default(),
            pause,
            asked: AtomicUsize::new(0),
        })
    }

    fn platform(self: &Arc<Self>) -> Platform {
        Platform {
            clock: self.clock.clone(),
            federation: self.clone(),
            ..Platform::default()
        }
    }
}

impl Federation for Giver {
    fn send<'a>(
        &'a self,
        _: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.clock.advance(self.pause);
        let range = request.headers()["range"].to_str().unwrap();
        let range = range.strip_prefix("bytes=").unwrap();
        let start: usize = range.split_once('-').unwrap().0.parse().unwrap();
        let end = self.size.min(start + self.piece);
        let head = format!(
            "--b\r\n\r\n{{}}\r\n--b\r\ncontent-range: bytes {start}-{}/{}\r\n\r\n",
            end - 1,
            self.size
        );
        let body = [head.as_bytes(), &vec![b'x'; end - start], b"\r\n--b--"].concat();
        let answer = Response::builder()
            .status(206)
            .header("content-type", "multipart/mixed; boundary=b");
        Box::pin(async move { Ok(answer.body(body.into()).unwrap()) })
    }
}

#[tokio::test]
async fn a_server_that_gives_a_file_too_slowly_is_given_up() {
    for (size, piece, pause, asked, status) in [
        (1_000, 1, Duration::ZERO, 1, 502),
        (2_000_000, 64 * 1024, Duration::from_secs(59), 16, 502),
        (2_000_000, 64 * 1024, Duration::from_millis(1), 31, 200),
    ] {
        let giver = Giver::new(size, piece, pause);
        let server = TestServer::on_platform(giver.platform()).await;
        let ann = server.register("ann").await;
        let file = download(&server, &ann, "elsewhere.example/x", None).await;
        assert_eq!(file.status(), status, "pieces of {piece} bytes in {pause:?}");
        assert_eq!(giver.asked.load(Ordering::Relaxed), asked);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_fetched_from_other_servers() {
    let giver = Giver::new(10, 10, Duration::ZERO);
    let server = TestServer::on_platform(giver.platform()).await;
    let ann = server.register("ann").await;
    let path = "/_matrix/media/v3/download/elsewhere.example/x";
    for query in ["", "?allow_remote=true"] {
        server
            .get(&format!("{path}{query}"))
            .await
            .fails(404, "M_NOT_FOUND");
    }
    let small = "/_matrix/media/v3/thumbnail/elsewhere.example/x?width=1&height=1";
    server.get(small).await.fails(404, "M_NOT_FOUND");
    assert_eq!(giver.asked.load(Ordering::Relaxed), 0);
    // What is kept here is served.
    let file = download(&server, &ann, "elsewhere.example/x", None).await;
    assert_eq!(file.body(), "xxxxxxxxxx");
    let request = Request::get(path).body(Body::empty()).unwrap();
    let file = server.file_from(request, Source::Client).await;
    assert_eq!(file.body(), "xxxxxxxxxx");
}

/// A platform that, like real ones, goes on with a picture after whoever asked is gone, and ends when it is told.
#[derive(Default)]
struct Painter {
    /// How often it began.
    begun: AtomicUsize,
    finish: Arc<Notify>,
    cannot_read: bool,
}

impl Images for Painter {
    fn scale(&self, picture: Picture, _: Bytes, _: Scaling) -> BoxFuture<'_, Scaled> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let finish = self.finish.clone();
        let made = match self.cannot_read {
            true => Err("broken".into()),
            false => Ok((picture, b"small".to_vec())),
        };
        Box::pin(async move {
            let work = tokio::spawn(async move { finish.notified().await });
            work.await.unwrap();
            made
        })
    }
}

fn painting(images: Arc<Painter>) -> Platform {
    Platform {
        images,
        ..Platform::default()
    }
}

/// The head of a PNG file that is said to have 1000 × 500 pixels.
const PNG: &[u8; 29] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x03\xe8\0\0\x01\xf4\x08\x06\0\0\0";

async fn thumbnail(server: &TestServer, client: &Client<'_>, location: &str) -> Response<Bytes> {
    let path = format!("/_matrix/client/v1/media/thumbnail/{location}?width=320&height=240");
    let request = Request::get(path).header("authorization", format!("Bearer {}", client.token));
    let request = request.body(Body::empty()).unwrap();
    server.file_from(request, Source::Client).await
}

#[tokio::test]
async fn who_hangs_up_does_not_begin_a_picture_anew() {
    let painter = Arc::new(Painter::default());
    let server = TestServer::on_platform(painting(painter.clone())).await;
    let ann = server.register("ann").await;
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "image/png", PNG.to_vec()).await;
    let location = location(&answer.ok());
    for _ in 0..3 {
        let asking = thumbnail(&server, &ann, &location);
        futures::future::select(pin!(asking), pin!(settled())).await;
    }
    assert_eq!(painter.begun.load(Ordering::Relaxed), 1);
    painter.finish.notify_one();
    let made = thumbnail(&server, &ann, &location).await;
    assert_eq!(made.body(), "small");
    assert_eq!(painter.begun.load(Ordering::Relaxed), 1);
}

/// Done when all tasks had their turns.
async fn settled() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broken_picture_is_not_tried_again_for_some_minutes() {
    let painter = Arc::new(Painter {
        cannot_read: true,
        ..Painter::default()
    });
    let server = TestServer::on_platform(painting(painter.clone())).await;
    let ann = server.register("ann").await;
    let answer = upload(&server, &ann, Method::POST, UPLOAD, "image/png", PNG.to_vec()).await;
    let location = location(&answer.ok());
    for (passed, begun) in [(0, 1), (60, 1), (300, 2)] {
        server.clock.advance(Duration::from_secs(passed));
        painter.finish.notify_one();
        let answer = thumbnail(&server, &ann, &location).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(painter.begun.load(Ordering::Relaxed), begun, "after {passed} s");
    }
}
