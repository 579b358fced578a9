//! A homeserver under test and its clients.

use std::sync::Arc;

use bytes::Bytes;
use hearth_homeserver::{Config, Federation, Homeserver, Identity, Images, NoImages, Seams};
use hearth_storage::{Direction, Entry, KeyRange, MemoryStore, Store, Table, WriteBatch};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    platform::{Alone, TestClock, TestRng, TestSpawner},
    visits,
};
use crate::{Api, ApiConfig, Body, Source};

/// A homeserver.
pub(super) struct TestServer {
    pub(super) api: Api,
    pub(super) name: String,
    pub(super) clock: Arc<TestClock>,
    rng: Arc<TestRng>,
    pub(super) store: MemoryStore,
}

/// What a homeserver under test runs on, beside its store.
pub(super) struct Platform {
    pub(super) clock: Arc<TestClock>,
    pub(super) rng: Arc<TestRng>,
    pub(super) federation: Arc<dyn Federation>,
    pub(super) images: Arc<dyn Images>,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            clock: Arc::default(),
            rng: Arc::default(),
            federation: Arc::new(Alone),
            images: Arc::new(NoImages),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// A logged-in client.
pub(super) struct Client<'a> {
    server: &'a TestServer,
    pub(super) user_id: String,
    pub(super) device_id: String,
    pub(super) token: String,
}

impl TestServer {
    pub(super) async fn new() -> Self {
        Self::with(Config::default(), ApiConfig::default()).await
    }

    pub(super) async fn with(config: Config, api_config: ApiConfig) -> Self {
        Self::on(MemoryStore::new(), Platform::default(), config, api_config).await
    }

    pub(super) async fn on_platform(platform: Platform) -> Self {
        Self::on(
            MemoryStore::new(),
            platform,
            Config::default(),
            ApiConfig::default(),
        )
        .await
    }

    async fn on(store: MemoryStore, platform: Platform, config: Config, api_config: ApiConfig) -> Self {
        let seams = Seams {
            store: Arc::new(store.clone()),
            federation: platform.federation,
            clock: platform.clock.clone(),
            rng: platform.rng.clone(),
            spawner: Arc::new(TestSpawner),
            images: platform.images,
        };
        let identity = Identity::load_or_create(&*seams.store, &*seams.rng)
            .await
            .unwrap();
        let homeserver = Homeserver::open(seams, identity, config).await.unwrap();
        let name = homeserver.server_name().to_string();
        Self {
            api: Api::new(homeserver, api_config),
            name,
            clock: platform.clock,
            rng: platform.rng,
            store,
        }
    }

    /// The next process on the same store.
    pub(super) async fn restarted(self) -> Self {
        let platform = Platform {
            clock: self.clock,
            rng: self.rng,
            ..Platform::default()
        };
        Self::on(self.store, platform, Config::default(), ApiConfig::default()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from(request, Source::Client).await
    }

    pub(super) async fn send_from(&self, request: Request<Body>, source: Source) -> Answer {
        let (parts, bytes) = self.file_from(request, source).await.into_parts();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The answer to `request` as bytes.
    pub(super) async fn file_from(&self, request: Request<Body>, source: Source) -> Response<Bytes> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (parts, body) = self.api.handle(request, source).await.into_parts();
        visits::note(&method, &path, parts.status);
        Response::from_parts(parts, body.collect(64 * 1024 * 1024).await.unwrap())
    }

    /// A request with a body of bytes.
    pub(super) async fn raw(&self, method: &Method, path: &str, token: Option<&str>, body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.raw(&Method::GET, path, None, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.raw(&Method::POST, path, None, body.to_string().into()).await
    }

    /// Registers a user without a password.
    pub(super) async fn register(&self, username: &str) -> Client<'_> {
        let body = json!({"username": username, "auth": {"type": "m.login.dummy"}});
        self.client(&self.post("/_matrix/client/v3/register", body).await.ok())
    }

    /// The client that `answer` to a registration or login has logged in.
    pub(super) fn client(&self, answer: &Value) -> Client<'_> {
        self.resume(
            &["user_id", "device_id", "access_token"].map(|field| answer[field].as_str().unwrap().to_owned()),
        )
    }

    /// A client that was logged in before a restart.
    pub(super) fn resume(&self, [user_id, device_id, token]: &[String; 3]) -> Client<'_> {
        Client {
            server: self,
            user_id: user_id.clone(),
            device_id: device_id.clone(),
            token: token.clone(),
        }
    }

    /// Everything that is stored.
    pub(super) async fn dump(&self) -> Vec<(Table, Entry)> {
        let mut dump = Vec::new();
        for table in Table::ALL {
            let rows = self
                .store
                .scan(*table, KeyRange::all(), Direction::Forward, usize::MAX)
                .await;
            dump.extend(rows.unwrap().into_iter().map(|row| (*table, row)));
        }
        dump
    }

    /// Deletes `table` and the row of `Table::Meta` that tells how far it is filled, as databases are that never had them.
    pub(super) async fn drop_index(&self, table: Table, progress: &[u8]) {
        let mut batch = WriteBatch::new();
        for (of, (key, _)) in self.dump().await {
            if of == table || (of, &*key) == (Table::Meta, progress) {
                batch.delete(of, key);
            }
        }
        self.store.commit(batch).await.unwrap();
    }
}

impl Client<'_> {
    /// What [`TestServer::resume`] takes.
    pub(super) fn parts(&self) -> [String; 3] {
        [self.user_id.clone(), self.device_id.clone(), self.token.clone()]
    }

    pub(super) async fn request(&self, method: Method, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        self.server.raw(&method, path, Some(&self.token), bytes).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, Value::Null).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, body).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PUT, path, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, Value::Null).await
    }

    /// Makes a room and returns its id.
    pub(super) async fn create_room(&self, body: Value) -> String {
        let answer = self.post("/_matrix/client/v3/createRoom", body).await.ok();
        answer["room_id"].as_str().unwrap().to_owned()
    }

    /// Makes a public room that `other` joins, and returns its id.
    pub(super) async fn room_with(&self, other: &Client<'_>) -> String {
        let room_id = self.create_room(json!({"preset": "public_chat"})).await;
        let path = format!("/_matrix/client/v3/join/{room_id}");
        other.post(&path, json!({})).await.ok();
        room_id
    }

    /// Sends a text message and returns its event id.
    pub(super) async fn say(&self, room_id: &str, txn_id: &str, text: &str) -> String {
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{txn_id}");
        let answer = self
            .put(&path, json!({"msgtype": "m.text", "body": text}))
            .await
            .ok();
        answer["event_id"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    /// The body of a successful answer.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// Checks that this is an error of the spec.
    #[track_caller]
    pub(super) fn fails(&self, status: u16, errcode: &str) {
        self.fails_at("", status, errcode);
    }

    /// Checks that this is an error of the spec, in the case named `case`.
    #[track_caller]
    pub(super) fn fails_at(&self, case: &str, status: u16, errcode: &str) {
        let found = (
            self.status.as_u16(),
            self.body["errcode"].as_str().unwrap_or_default(),
        );
        assert_eq!(found, (status, errcode), "{case}: {}", self.body);
        assert!(self.body["error"].is_string(), "{case}: {}", self.body);
    }
}
