//! A homeserver on false seams, and a client that follows it.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::channel::oneshot;
use hearth_homeserver::{
    Clock, Config, Error, Federation, FederationError, Homeserver, Identity, JsonObject, Rng, Seams, Spawner,
    messages::{MessagesRequest, PageDirection},
    rooms::{client_event::Viewer, create::CreateRoom},
    sync::{Filter, PageToken, SyncRequest},
};
use hearth_storage::{
    BoxFuture, Direction, Entry, KeyRange, MemoryStore, Store, StoreError, Table, WriteBatch,
};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

/// The start of the clock, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_800_000_000_000;

/// A clock that moves only when it is told to.
pub(crate) struct StandingClock {
    now: AtomicU64,
    sleepers: Mutex<Vec<(u64, oneshot::Sender<()>)>>,
    /// How often somebody let others have their turn.
    pub(crate) ways_given: AtomicU64,
}

impl StandingClock {
    pub(crate) fn advance(&self, duration: Duration) {
        let now = self.now.fetch_add(millis(duration), Ordering::Relaxed) + millis(duration);
        self.sleepers.lock().unwrap().retain_mut(|(until, wake)| {
            let over = *until <= now;
            if over {
                let (unused, _) = oneshot::channel();
                let _ = std::mem::replace(wake, unused).send(());
            }
            !over
        });
    }
}

impl Clock for StandingClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            self.ways_given.fetch_add(1, Ordering::Relaxed);
            return Box::pin(async {});
        }
        let (wake, woken) = oneshot::channel();
        self.sleepers
            .lock()
            .unwrap()
            .push((self.now() + millis(duration), wake));
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

/// Different bytes at every call, and the same in every run.
#[derive(Default)]
struct Counter(AtomicU64);

impl Rng for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8;
        }
    }
}

struct Tasks;

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

struct Nobody;

impl Federation for Nobody {
    fn send<'a>(
        &'a self,
        _: &'a str,
        _: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, FederationError>> {
        Box::pin(async { Err(FederationError::Unreachable) })
    }
}

/// A store that counts how often it is read.
pub(crate) struct CountingStore {
    store: Arc<MemoryStore>,
    reads: AtomicU64,
}

impl CountingStore {
    fn count(&self) -> &MemoryStore {
        self.reads.fetch_add(1, Ordering::Relaxed);
        &self.store
    }
}

impl Store for CountingStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.count().get(table, key)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        self.count().get_many(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.count().scan(table, range, direction, limit)
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.commit(batch)
    }
}

/// A homeserver and what it stands on.
pub(crate) struct Server {
    pub(crate) homeserver: Arc<Homeserver>,
    pub(crate) clock: Arc<StandingClock>,
    store: Arc<CountingStore>,
    transactions: AtomicU64,
}

impl Server {
    pub(crate) async fn new() -> Self {
        let clock = StandingClock {
            now: AtomicU64::new(EPOCH),
            sleepers: Mutex::default(),
            ways_given: AtomicU64::new(0),
        };
        Self::open(Arc::new(MemoryStore::new()), Arc::new(clock)).await
    }

    async fn open(store: Arc<MemoryStore>, clock: Arc<StandingClock>) -> Self {
        let store = Arc::new(CountingStore {
            store,
            reads: AtomicU64::new(0),
        });
        let rng: Arc<dyn Rng> = Arc::new(Counter::default());
        let identity = Identity::load_or_create(&*store as &dyn Store, &*rng)
            .await
            .unwrap();
        let seams = Seams {
            store: store.clone(),
            federation: Arc::new(Nobody),
            clock: clock.clone(),
            rng,
            spawner: Arc::new(Tasks),
            images: Arc::new(hearth_homeserver::NoImages),
        };
        let homeserver = Homeserver::open(seams, identity, Config::default())
            .await
            .unwrap();
        Self {
            homeserver,
            clock,
            store,
            transactions: AtomicU64::new(0),
        }
    }

    /// The same server after its process ended and started again.
    pub(crate) async fn restarted(self) -> Self {
        self.clock.advance(Duration::from_secs(1));
        let restarted = Self::open(self.store.store.clone(), self.clock).await;
        restarted.transactions.store(1_000_000, Ordering::Relaxed);
        restarted
    }

    /// The same server after its process ended and `count` entries came into its log, each `step` positions after the one
    /// before.
    pub(crate) async fn restarted_with_entries(self, count: u64, step: u64) -> Self {
        let rows = &self.store.store;
        let last = rows.scan(Table::Stream, KeyRange::all(), Direction::Backward, 1);
        let (key, _) = last.await.unwrap().pop().unwrap();
        let last = u64::from_be_bytes(key.try_into().unwrap());
        let entry = json!({"t": "a", "u": self.user("nobody"), "k": "m.nothing"}).to_string();
        let mut batch = WriteBatch::new();
        for number in 1..=count {
            batch.put(
                Table::Stream,
                (last + number * step).to_be_bytes(),
                entry.as_bytes(),
            );
        }
        rows.commit(batch).await.unwrap();
        self.restarted().await
    }

    /// How many bytes of keys and values the store holds.
    #[allow(dead_code, reason = "shared with the measurement of memory")]
    pub(crate) async fn stored_bytes(&self) -> usize {
        let mut bytes = 0;
        for table in Table::ALL {
            let all = self
                .store
                .store
                .scan(*table, KeyRange::all(), Direction::Forward, usize::MAX);
            let all = all.await.unwrap();
            bytes += all
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>();
        }
        bytes
    }

    /// How often the store has been read.
    pub(crate) fn reads(&self) -> u64 {
        self.store.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn user(&self, name: &str) -> OwnedUserId {
        UserId::parse(format!("@{name}:{}", self.homeserver.server_name())).unwrap()
    }

    /// A room that anybody may join.
    pub(crate) async fn room(&self, creator: &UserId) -> OwnedRoomId {
        let request = CreateRoom {
            preset: Some("public_chat".into()),
            ..CreateRoom::default()
        };
        self.homeserver.create_room(creator, request).await.unwrap()
    }

    pub(crate) async fn join(&self, user_id: &UserId, room_id: &RoomId) {
        self.homeserver
            .join_room(user_id, room_id.into(), &[], None)
            .await
            .unwrap();
    }

    pub(crate) async fn leave(&self, user_id: &UserId, room_id: &RoomId) {
        self.homeserver.leave_room(user_id, room_id, None).await.unwrap();
    }

    /// Sends a text message.
    pub(crate) async fn say(&self, user_id: &UserId, room_id: &RoomId, text: &str) -> OwnedEventId {
        self.send(user_id, room_id, json!({"msgtype": "m.text", "body": text}))
            .await
    }

    /// Sends several text messages, numbered from 0.
    pub(crate) async fn say_many(&self, user_id: &UserId, room_id: &RoomId, count: usize) {
        for number in 0..count {
            self.say(user_id, room_id, &number.to_string()).await;
        }
    }

    /// Sends a message of the given content.
    pub(crate) async fn send(&self, user_id: &UserId, room_id: &RoomId, content: Value) -> OwnedEventId {
        let txn_id = self.transactions.fetch_add(1, Ordering::Relaxed).to_string();
        let content = content.as_object().unwrap().clone();
        let sent =
            self.homeserver
                .send_message(user_id, device(), room_id, "m.room.message", &txn_id, content);
        sent.await.unwrap()
    }

    /// Sets state with an empty state key.
    pub(crate) async fn set(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        kind: &str,
        content: Value,
    ) -> OwnedEventId {
        let content = content.as_object().unwrap().clone();
        self.homeserver
            .send_state(user_id, room_id, kind, "", content)
            .await
            .unwrap()
    }

    /// One sync, without waiting.
    pub(crate) async fn sync(&self, user_id: &UserId, since: Option<&str>, filter: Value) -> Value {
        self.sync_with(user_id, request(since, filter)).await
    }

    pub(crate) async fn sync_with(&self, user_id: &UserId, request: SyncRequest) -> Value {
        let answer = self.homeserver.sync(user_id, device(), request).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }

    /// A client of the user that has done its initial sync.
    pub(crate) async fn client(&self, user_id: &UserId) -> Client<'_> {
        let mut client = Client {
            server: self,
            user_id: user_id.to_owned(),
            since: None,
            filter: json!({}),
        };
        client.sync().await;
        client
    }

    pub(crate) async fn messages(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        request: MessagesRequest,
    ) -> Value {
        let viewer = Viewer {
            user_id,
            device_id: Some(device()),
        };
        serde_json::to_value(self.homeserver.messages(viewer, room_id, request).await.unwrap()).unwrap()
    }

    pub(crate) async fn messages_error(&self, user_id: &UserId, room_id: &RoomId) -> Error {
        let viewer = Viewer {
            user_id,
            device_id: None,
        };
        let messages = self
            .homeserver
            .messages(viewer, room_id, MessagesRequest::default());
        messages.await.err().unwrap()
    }
}

/// A client that goes on from its last sync.
pub(crate) struct Client<'a> {
    pub(crate) server: &'a Server,
    pub(crate) user_id: OwnedUserId,
    pub(crate) since: Option<String>,
    pub(crate) filter: Value,
}

impl Client<'_> {
    /// The next answer.
    pub(crate) async fn sync(&mut self) -> Value {
        let answer = self
            .server
            .sync(&self.user_id, self.since.as_deref(), self.filter.clone())
            .await;
        self.since = Some(answer["next_batch"].as_str().unwrap().to_owned());
        answer
    }
}

pub(crate) fn device() -> &'static DeviceId {
    static DEVICE: std::sync::OnceLock<OwnedDeviceId> = std::sync::OnceLock::new();
    DEVICE.get_or_init(|| "DEVICE".into())
}

pub(crate) fn request(since: Option<&str>, filter: Value) -> SyncRequest {
    SyncRequest {
        since: since.map(|since| since.parse().unwrap()),
        filter: Filter::parse(&filter.to_string()).unwrap(),
        ..SyncRequest::default()
    }
}

pub(crate) fn page(from: Option<&str>, direction: PageDirection, limit: usize) -> MessagesRequest {
    MessagesRequest {
        from: from.map(|from| from.parse::<PageToken>().unwrap()),
        direction,
        limit: Some(limit),
        ..MessagesRequest::default()
    }
}

/// An answer that tells nothing: but for where to go on, and that the device has no keys.
pub(crate) fn empty(next_batch: &str) -> Value {
    json!({
        "next_batch": next_batch,
        "device_one_time_keys_count": {"signed_curve25519": 0},
        "device_unused_fallback_key_types": [],
    })
}

/// The part of an answer about a joined room.
pub(crate) fn joined<'a>(answer: &'a Value, room_id: &RoomId) -> &'a Value {
    &answer["rooms"]["join"][room_id.as_str()]
}

/// The bodies of the messages among `events`.
pub(crate) fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

/// The types of `events`.
pub(crate) fn kinds(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

/// The state keys of the member events among `events`.
pub(crate) fn members(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    let members = events.iter().filter(|event| event["type"] == "m.room.member");
    members.filter_map(|event| event["state_key"].as_str()).collect()
}

pub(crate) fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

/// Lets all other tasks run until they wait, and says whether `future` is done by then.
pub(crate) async fn settles<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..200 {
        tokio::task::yield_now().await;
        let polled = futures::poll!(future.as_mut());
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    None
}
