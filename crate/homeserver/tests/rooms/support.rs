//! A homeserver on false seams, and another server's key.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hearth_homeserver::{
    AnswerLimit, Clock, Config, Error, Federation, FederationError, Homeserver, Identity, JsonObject, Rng,
    Seams, Spawner,
    accounts::Session,
    rooms::{create::CreateRoom, event::StoredEvent},
    sync::SlidingRequest,
};
use hearth_storage::{BoxFuture, MemoryStore, Store};
use ruma_common::{DeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

use crate::counting::CountingStore;

/// The one moment at which everything happens, in milliseconds since the Unix epoch.
pub const NOW: u64 = 1_800_000_000_000;

/// A clock that stands still, and on which all waiting is over at once but that for a peer.
pub struct Moment;

impl Clock for Moment {
    fn now(&self) -> u64 {
        NOW
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            Box::pin(async {})
        } else {
            Box::pin(std::future::pending())
        }
    }
}

pub struct Counter(AtomicU64);

impl Rng for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 56) as u8;
        }
    }
}

pub struct Tasks;

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

/// A network that answers nobody, and remembers what was asked.
#[derive(Default)]
pub struct Silence {
    pub asked: Mutex<Vec<(String, String)>>,
    /// How great the answers might have been, in bytes.
    pub limits: Mutex<Vec<usize>>,
    /// The servers with which a room came to be shared.
    pub met: Mutex<Vec<String>>,
    /// Whether those who ask wait for ever.
    pub hangs: AtomicBool,
    /// Whether transactions are taken after all.
    pub takes_mail: AtomicBool,
    /// The most events of a transaction that is not too large, if not 0.
    pub most_events: AtomicUsize,
    /// A text with which nobody takes a transaction.
    pub poison: Mutex<Option<&'static str>>,
    /// The transactions taken.
    pub mail: Mutex<Vec<Value>>,
}

impl Federation for Silence {
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, FederationError>> {
        self.asked
            .lock()
            .unwrap()
            .push((destination.to_owned(), request.uri().to_string()));
        let limit = request.extensions().get().map(|AnswerLimit(limit)| *limit);
        self.limits.lock().unwrap().push(limit.unwrap_or(usize::MAX));
        if self.hangs.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        if !self.takes_mail.load(Ordering::Relaxed) {
            return Box::pin(async { Err(FederationError::Unreachable) });
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let most = self.most_events.load(Ordering::Relaxed);
        if most > 0 && body["pdus"].as_array().unwrap().len() > most {
            let refusal = http::Response::builder().status(413).body(Bytes::new()).unwrap();
            return Box::pin(async { Ok(refusal) });
        }
        let poison = *self.poison.lock().unwrap();
        if poison.is_some_and(|text| body.to_string().contains(text)) {
            let refusal = http::Response::builder().status(400).body(Bytes::new()).unwrap();
            return Box::pin(async { Ok(refusal) });
        }
        self.mail.lock().unwrap().push(body);
        Box::pin(async { Ok(http::Response::new(Bytes::from_static(b"{}"))) })
    }

    fn met(&self, server: &str) {
        self.met.lock().unwrap().push(server.to_owned());
    }
}

/// A homeserver with the users `alice` and `bob`.
pub struct Server {
    pub homeserver: Arc<Homeserver>,
    pub network: Arc<Silence>,
    pub store: Arc<CountingStore>,
}

impl Server {
    pub async fn new() -> Self {
        Self::open(MemoryStore::new()).await
    }

    async fn open(store: MemoryStore) -> Self {
        let store = Arc::new(CountingStore::new(store));
        let rng = Arc::new(Counter(AtomicU64::new(1)));
        let identity = Identity::load_or_create(&*store as &dyn Store, &*rng)
            .await
            .unwrap();
        let network = Arc::new(Silence::default());
        let seams = Seams {
            store: store.clone(),
            federation: network.clone(),
            clock: Arc::new(Moment),
            rng,
            spawner: Arc::new(Tasks),
            images: Arc::new(hearth_homeserver::NoImages),
        };
        let homeserver = Homeserver::open(seams, identity, Config::default())
            .await
            .unwrap();
        Self {
            homeserver,
            network,
            store,
        }
    }

    pub async fn restarted(&self) -> Self {
        Self::open(self.store.rows.clone()).await
    }

    pub fn alice(&self) -> OwnedUserId {
        self.user("alice")
    }

    pub fn bob(&self) -> OwnedUserId {
        self.user("bob")
    }

    pub fn user(&self, name: &str) -> OwnedUserId {
        UserId::parse(format!("@{name}:{}", self.homeserver.server_name())).unwrap()
    }

    pub async fn create(&self, request: Value) -> Result<OwnedRoomId, Error> {
        let request: CreateRoom = serde_json::from_value(request).unwrap();
        self.homeserver.create_room(&self.alice(), request).await
    }

    pub async fn public_room(&self) -> OwnedRoomId {
        self.create(json!({ "preset": "public_chat" })).await.unwrap()
    }

    pub async fn say(
        &self,
        user: &UserId,
        room: &RoomId,
        txn: &str,
        body: &str,
    ) -> Result<OwnedEventId, Error> {
        let content = object(json!({ "msgtype": "m.text", "body": body }));
        self.homeserver
            .send_message(user, device(), room, "m.room.message", txn, content)
            .await
    }

    pub async fn set(
        &self,
        user: &UserId,
        room: &RoomId,
        kind: &str,
        content: Value,
    ) -> Result<OwnedEventId, Error> {
        self.homeserver
            .send_state(user, room, kind, "", object(content))
            .await
    }

    pub async fn join(&self, user: &UserId, room: &RoomId) -> Result<OwnedRoomId, Error> {
        self.homeserver.join_room(user, room.into(), &[], None).await
    }

    /// The texts and types of the timeline, oldest first.
    pub async fn timeline(&self, room: &RoomId) -> Vec<String> {
        let events = self
            .homeserver
            .timeline_after(room, i64::MIN, 1000)
            .await
            .unwrap();
        let text = |event: &StoredEvent| event.content_text("body").unwrap_or(event.kind()).to_owned();
        events.iter().map(|(_, event)| text(event)).collect()
    }

    pub async fn state(&self, room: &RoomId, kind: &str, state_key: &str) -> Option<Arc<StoredEvent>> {
        let room = self.homeserver.room(room).await.unwrap()?;
        let keys = [(kind, state_key)];
        let state = self.homeserver.view(&room.snapshot(), &keys).await.unwrap();
        state.get(kind, state_key).cloned()
    }

    /// What sliding sync answers to a client that lists its rooms and goes on from `pos`.
    pub async fn slide(&self, client: &Session, pos: Value) -> Value {
        let list = json!({ "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [] });
        let request = json!({ "lists": { "all": list } });
        let mut request: SlidingRequest = serde_json::from_value(request).unwrap();
        request.pos = pos.as_str().map(str::to_owned);
        let answer = self.homeserver.sliding_sync(client, request).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }

    pub async fn state_content(&self, room: &RoomId, kind: &str) -> Option<Value> {
        let event = self.state(room, kind, "").await?;
        Some(Value::Object(event.content().clone()))
    }

    pub async fn membership(&self, user: &UserId, room: &RoomId) -> String {
        let event = self.state(room, "m.room.member", user.as_str()).await;
        let membership = event.as_ref().and_then(|event| event.content_text("membership"));
        membership.unwrap_or("leave").to_owned()
    }
}

/// Lets all other tasks run until they wait.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub fn device() -> &'static DeviceId {
    "DEVICE".into()
}

pub fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}
