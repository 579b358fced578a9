//! What is to be sent to each server: queues, transactions and back-off.
//!
//! Events are queued in `Table::Federation` (`o\0server\0position` → event id) in the batch that stores them,
//! so they survive a restart. EDUs of a moment (typing, receipts) wait in memory; EDUs that must arrive (messages
//! for devices, changes of device lists) are queued in the store as well (`e\0server\0number` → EDU)
//! and read from there when it is their turn. Each server with mail has one task, which sends one
//! transaction after another and ends when there is no more.
//!
//! What waits for a server that stays away is bounded: beyond [`MAX_WAITING`] events only the newest of each room
//! is kept. Whoever gets that one asks for what came before it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use event_listener::Event;
use futures::future::{Either, select};
use hearth_storage::{Direction, KeyRange, Store, Table, WriteBatch};
use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::{
        request::RequestError,
        sendable::{MAX_EDU_NESTING, is_sendable},
    },
    ordered::map,
    presence::together,
    rooms::{event::StoredEvent, member_counts::ServerCounts},
    stored::{scan_all, to_vec},
};

/// The most events in a transaction, and the most lasting EDUs. Spec: Server-Server API, section 'Transactions'.
const MAX_PDUS: usize = 50;
/// The most EDUs of a moment that wait for one server. With as many lasting ones, no transaction has too many.
const MAX_EDUS: usize = 50;
/// About how many bytes of lasting EDUs are in a transaction.
const MAX_LASTING_BYTES: usize = 1024 * 1024;
/// With as many lasting EDUs that wait for one server, new messages for devices are dropped.
pub(crate) const MAX_MESSAGES_WAITING: usize = 10_000;
/// With as many, changes of devices are, too. A server that missed one asks for the user's devices at the next one.
pub(crate) const MAX_UPDATES_WAITING: usize = 2 * MAX_MESSAGES_WAITING;
/// The most events that wait for one server, unless they are of as many rooms.
const MAX_WAITING: usize = 500;
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A lasting EDU, after its row; `None` if it cannot be sent.
type LastingEdu = (Vec<u8>, Option<JsonObject>);

/// EDUs by kind and key.
type Edus = BTreeMap<(String, String), JsonObject>;

/// The queues of all destinations.
#[derive(Default)]
pub(crate) struct Outbox {
    queues: Mutex<BTreeMap<OwnedServerName, Queue>>,
    /// The number of the next lasting EDU: greater than that of any which waits.
    next_edu: AtomicU64,
}

/// What waits for one server.
#[derive(Default)]
struct Queue {
    events: VecDeque<Mail>,
    /// How many events may wait, if more than [`MAX_WAITING`].
    limit: usize,
    edus: Edus,
    /// How many lasting EDUs wait in the store.
    lasting: usize,
    /// Whether a task sends it.
    active: bool,
    /// Wakes that task from its pause.
    online: Arc<Event>,
}

/// An event that waits.
#[derive(Clone)]
pub(crate) struct Mail {
    position: u64,
    event_id: OwnedEventId,
    /// The room; `None` in a row of the first release, which did not say.
    room_id: Option<OwnedRoomId>,
    /// The event itself, while it is among the next to be sent.
    event: Option<Arc<StoredEvent>>,
}

impl Queue {
    /// Forgets all but the newest event of each room, if too many wait. Returns the positions of those forgotten.
    fn catch_up(&mut self) -> Vec<u64> {
        if self.events.len() <= self.limit.max(MAX_WAITING) {
            return Vec::new();
        }
        let newest = map(self
            .events
            .iter()
            .map(|mail| (mail.room_id.clone(), mail.position)));
        let is_newest =
            |mail: &Mail| mail.room_id.is_none() || newest.get(&mail.room_id) == Some(&mail.position);
        let all = std::mem::take(&mut self.events).into_iter();
        let (kept, forgotten): (Vec<_>, Vec<_>) = all.partition(is_newest);
        self.events = kept.into();
        self.limit = 2 * self.events.len();
        forgotten.into_iter().map(|mail| mail.position).collect()
    }
}

/// A transaction: what it takes from the queue, and its content.
#[derive(Default)]
struct Transaction {
    positions: Vec<u64>,
    edus: Edus,
    /// The rows of the lasting EDUs.
    lasting: Vec<Vec<u8>>,
    /// `None` if what is queued cannot be read now.
    body: Option<Value>,
}

/// What became of a transaction.
#[derive(PartialEq, Eq)]
enum Delivery {
    /// The server has taken it.
    Done,
    /// It does not take it, but may take parts of it.
    Refused,
    /// It is to be tried again.
    Failed,
}

impl Outbox {
    /// Reads what is still queued.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let mut queues = BTreeMap::<_, Queue>::new();
        for (key, value) in scan_all(store, Table::Federation, b"o\0").await? {
            let (server, mail) = parse_row(&key, &value).ok_or_else(|| Error::Damaged("outbox".into()))?;
            queues.entry(server).or_default().events.push_back(mail);
        }
        let mut next_edu = 0;
        for (key, _) in scan_all(store, Table::Federation, b"e\0").await? {
            let (server, number) = parse_edu_key(&key).ok_or_else(|| Error::Damaged("outbox".into()))?;
            queues.entry(server).or_default().lasting += 1;
            next_edu = next_edu.max(number + 1);
        }
        Ok(Self {
            queues: Mutex::new(queues),
            next_edu: AtomicU64::new(next_edu),
        })
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<OwnedServerName, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the event of log position `position` into `batch` for each of `servers`.
    pub(crate) fn store(
        batch: &mut WriteBatch,
        servers: &BTreeSet<OwnedServerName>,
        position: u64,
        event: &StoredEvent,
    ) {
        let row = [event.room_id().as_bytes(), &[0], event.event_id.as_bytes()].concat();
        for server in servers {
            batch.put(Table::Federation, outbox_key(server, position), row.as_slice());
        }
    }
}

impl Outbox {
    /// Puts EDUs (`edu_type` and `content`) that must arrive at `server` into `batch`, unless more than `most` would wait.
    /// If there is room, call [`Homeserver::post_edus`] after the commit.
    pub(crate) fn store_edus(
        &self,
        batch: &mut WriteBatch,
        server: &ServerName,
        edus: &[Value],
        most: usize,
    ) -> Result<bool, Error> {
        let waiting = self.queues().get(server).map_or(0, |queue| queue.lasting);
        if waiting + edus.len() > most {
            tracing::warn!(%server, "too many EDUs wait for a server");
            return Ok(false);
        }
        for edu in edus {
            let number = self.next_edu.fetch_add(1, Ordering::Relaxed);
            batch.put(Table::Federation, edu_key(server, number), to_vec(edu)?);
        }
        Ok(true)
    }

    /// Forgets that EDUs wait for `server`: there are none that can be read.
    fn forget_edus(&self, server: &ServerName) {
        if let Some(queue) = self.queues().get_mut(server) {
            queue.lasting = 0;
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.edus.is_empty() && self.lasting == 0
    }

    /// How many events and how many lasting EDUs are in a transaction of at most `most` each. With 1 there is an event
    /// alone, with 0 an EDU alone, if there are both: then it shows which of them is refused.
    fn shares(&self, most: usize) -> (usize, usize) {
        match (most, self.lasting) {
            (0, 1..) => (0, 1),
            (1, _) if !self.events.is_empty() => (1, 0),
            (most, 0) => (most.max(1), 0),
            (most, 1..) => (most, most),
        }
    }
}

impl Homeserver {
    /// Sends `count` EDUs to `server` that were stored with [`Outbox::store_edus`], once that is committed.
    pub(crate) fn post_edus(&self, server: &ServerName, count: usize) {
        if count > 0 {
            let mut queues = self.outbox.queues();
            queues.entry(server.to_owned()).or_default().lasting += count;
            drop(queues);
            self.start_sender(server);
        }
    }

    /// Starts sending what is queued.
    pub(crate) fn start_senders(&self) {
        let servers: Vec<_> = self.outbox.queues().keys().cloned().collect();
        for server in servers {
            self.start_sender(&server);
        }
    }

    /// Queues an event that was stored with [`Outbox::store`], once that is committed.
    pub(crate) fn post(&self, servers: &BTreeSet<OwnedServerName>, position: u64, event: &Arc<StoredEvent>) {
        for server in servers {
            let forgotten = {
                let mut queues = self.outbox.queues();
                let queue = queues.entry(server.clone()).or_default();
                let near = queue.events.len() < MAX_PDUS;
                queue.events.push_back(Mail {
                    position,
                    event_id: event.event_id.clone(),
                    room_id: Some(event.room_id().to_owned()),
                    event: near.then(|| event.clone()),
                });
                queue.catch_up()
            };
            if !forgotten.is_empty() {
                tracing::info!(%server, events = forgotten.len(), "a server that is away will have to ask");
                let server = server.clone();
                self.spawn(|homeserver| async move { homeserver.take_off(&server, &forgotten, &[]).await });
            }
            self.start_sender(server);
        }
    }

    /// `server` can be reached (again): forgets its back-off, sends it what is queued, and compares heads with it.
    pub fn peer_online(&self, server: &ServerName) {
        self.wake_sender(server);
        self.compare_heads_soon(server);
    }

    /// `server` lives: forgets its back-off and sends it what is queued.
    pub(crate) fn wake_sender(&self, server: &ServerName) {
        if let Some(queue) = self.outbox.queues().get(server) {
            queue.online.notify(usize::MAX);
        }
        if self.partial.concern(server) {
            self.partial.online.notify(usize::MAX);
        }
        self.held.peer_online(server);
    }

    /// The other servers that share a room with a local user.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn known_servers(&self) -> Result<BTreeSet<OwnedServerName>, Error> {
        Ok(self.nearest_servers().await?.into_iter().collect())
    }

    /// The same, those first with which the smallest rooms are shared: many who come into a large one push nobody back
    /// who is in a smaller one. Among those of rooms of one size the order is this server's secret: where each
    /// looks after a few of them, all are looked after, and nobody can choose a name that comes early.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn nearest_servers(&self) -> Result<Vec<OwnedServerName>, Error> {
        let mut smallest = ServerCounts::new();
        for room_id in self.user_rooms.all_joined() {
            let mut servers = self.servers_of(&room_id).await?;
            if let Some(partial) = self.partial.get(&room_id) {
                servers.extend(partial.servers.iter().cloned());
            }
            let size = servers.len() as u64;
            for server in servers {
                let least = smallest.entry(server).or_insert(size);
                *least = size.min(*least);
            }
        }
        smallest.remove(self.server_name());
        let ranked = smallest.into_iter().map(|(server, size)| {
            let mut hasher = DefaultHasher::new();
            (self.identity.seed(), &server).hash(&mut hasher);
            (size, hasher.finish(), server)
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_unstable_by_key(|(size, hash, _)| (*size, *hash));
        Ok(ranked.into_iter().map(|(.., server)| server).collect())
    }

    /// Sends an EDU to every other server that has a joined member in the room. An EDU that waits with the same
    /// `kind` and `key` for the same server is replaced. EDUs do not survive a restart.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn send_edu(
        &self,
        room_id: &RoomId,
        kind: &str,
        key: &str,
        content: JsonObject,
    ) -> Result<(), Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(());
        };
        for server in self.others(&room.snapshot(), self.server_name()).await? {
            self.send_edu_to(&server, kind, key, &content);
        }
        Ok(())
    }

    /// Sends an EDU to one server, as [`Homeserver::send_edu`] does.
    pub(crate) fn send_edu_to(&self, server: &ServerName, kind: &str, key: &str, content: &JsonObject) {
        self.queue_edu(server, kind, key, content);
        self.start_sender(server);
    }

    fn queue_edu(&self, server: &ServerName, kind: &str, key: &str, content: &JsonObject) {
        let mut queues = self.outbox.queues();
        let edus = &mut queues.entry(server.to_owned()).or_default().edus;
        let id = (kind.to_owned(), key.to_owned());
        if edus.len() < MAX_EDUS || edus.contains_key(&id) {
            edus.insert(id, content.clone());
        }
    }

    /// Starts the task of `server`, unless it has one or nothing waits.
    fn start_sender(&self, server: &ServerName) {
        if let Some(queue) = self.outbox.queues().get_mut(server) {
            if queue.active || queue.is_empty() {
                return;
            }
            queue.active = true;
        }
        let server = server.to_owned();
        self.spawn(|homeserver| async move { homeserver.send_all(&server).await });
    }

    /// Sends transactions to `server` until its queue is empty, pausing after each failure.
    async fn send_all(&self, server: &ServerName) {
        let mut pause = FIRST_PAUSE;
        let mut most = MAX_PDUS;
        while let Some(transaction) = self.next_transaction(server, most).await {
            let delivered = self.deliver(server, &transaction).await;
            if delivered == Delivery::Failed || (delivered == Delivery::Refused && most > 1) {
                self.put_back(server, transaction.edus);
            } else {
                self.take_off(server, &transaction.positions, &transaction.lasting)
                    .await;
            }
            match delivered {
                // The event was not to blame: the EDU may be.
                Delivery::Done if most == 1 => most = 0,
                Delivery::Done => (pause, most) = (FIRST_PAUSE, MAX_PDUS),
                Delivery::Refused => {
                    most = if most == 0 { 1 } else { most / 2 };
                    self.pause(server, FIRST_PAUSE).await;
                }
                Delivery::Failed => {
                    let online = self.pause(server, pause).await;
                    pause = if online {
                        FIRST_PAUSE
                    } else {
                        (pause * 2).min(LONGEST_PAUSE)
                    };
                }
            }
        }
    }

    /// Tries once.
    async fn deliver(&self, server: &ServerName, transaction: &Transaction) -> Delivery {
        if transaction.body.is_none() {
            return Delivery::Failed;
        }
        let uri = format!("/_matrix/federation/v1/send/{}", self.random_id(12));
        match self
            .request(server, Method::PUT, &uri, transaction.body.clone())
            .await
        {
            Ok(answer) => {
                note_refusals(server, &answer);
                Delivery::Done
            }
            Err(RequestError::Refused {
                status: status @ (400 | 413),
                error,
                ..
            }) => {
                tracing::warn!(%server, status, error, "a transaction was refused");
                Delivery::Refused
            }
            Err(error) => {
                tracing::debug!(%server, %error, "a transaction was not delivered");
                Delivery::Failed
            }
        }
    }

    /// Returns undelivered EDUs to the queue, unless newer ones have come. Who typed then is of no interest.
    fn put_back(&self, server: &ServerName, edus: Edus) {
        if let Some(queue) = self.outbox.queues().get_mut(server) {
            for (id, content) in edus.into_iter().filter(|((kind, _), _)| kind != "m.typing") {
                queue.edus.entry(id).or_insert(content);
            }
        }
    }

    /// Waits for `pause`, or until the server is online: then `true`.
    async fn pause(&self, server: &ServerName, pause: Duration) -> bool {
        let online = self
            .outbox
            .queues()
            .get(server)
            .map(|queue| queue.online.listen());
        let sleep = self.seams.clock.sleep(pause);
        match online {
            Some(online) => matches!(select(online, sleep).await, Either::Left(_)),
            None => {
                sleep.await;
                false
            }
        }
    }

    /// What to send next, at most `most` events and as many lasting EDUs: see [`Queue::shares`]. `None` ends the task.
    async fn next_transaction(&self, server: &ServerName, most: usize) -> Option<Transaction> {
        let (mail, edus, limit) = self.take_next(server, most)?;
        let (events, lasting) = match self.read_next(server, &mail, limit).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%server, %error, "what is queued cannot be read now");
                return Some(Transaction {
                    edus,
                    ..Transaction::default()
                });
            }
        };
        if mail.is_empty() && edus.is_empty() && lasting.is_empty() {
            self.outbox.forget_edus(server);
            return Box::pin(self.next_transaction(server, most)).await;
        }
        let pdus: Vec<_> = events.iter().map(|event| event.pdu.raw_json()).collect();
        let contents: Vec<_> = together(&edus)
            .into_iter()
            .chain(
                lasting
                    .iter()
                    .filter_map(|(_, edu)| edu.clone().map(Value::Object)),
            )
            .collect();
        let body = json!({
            "origin": self.server_name(),
            "origin_server_ts": self.now(),
            "pdus": pdus,
            "edus": contents,
        });
        Some(Transaction {
            positions: mail.iter().map(|mail| mail.position).collect(),
            edus,
            lasting: lasting.into_iter().map(|(key, _)| key).collect(),
            body: Some(body),
        })
    }

    /// The events of `mail`, in order, and the next lasting EDUs, at most `limit`. Events that are damaged are left out:
    /// they are lost.
    ///
    /// # Errors
    /// [`Error::Store`] if they cannot be read now.
    async fn read_next(
        &self,
        server: &ServerName,
        mail: &[Mail],
        limit: usize,
    ) -> Result<(Vec<Arc<StoredEvent>>, Vec<LastingEdu>), Error> {
        let missing = mail.iter().filter(|mail| mail.event.is_none());
        let missing: Vec<_> = missing.map(|mail| mail.event_id.clone()).collect();
        let loaded = match self.stored_events(&missing).await {
            Err(Error::Damaged(_)) => self.undamaged(&missing).await?,
            loaded => loaded?,
        };
        let kept = mail.iter().filter_map(|mail| mail.event.clone());
        let mut events: Vec<_> = kept.chain(loaded).collect();
        events.sort_by_key(|event| event.decision.order);
        Ok((events, self.lasting_edus(server, limit).await?))
    }

    /// Those of the events `event_ids` that are stored and not damaged.
    async fn undamaged(&self, event_ids: &[OwnedEventId]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut events = Vec::with_capacity(event_ids.len());
        for event_id in event_ids {
            match self.stored_event(event_id).await {
                Err(Error::Damaged(error)) => {
                    tracing::error!(%event_id, error, "a queued event is damaged");
                }
                stored => events.extend(stored?),
            }
        }
        Ok(events)
    }

    /// The next lasting EDUs: as many as fit into a transaction, and at most `limit`. Earlier versions have stored such
    /// as cannot be sent: they are taken off with the others, lest they hold them up.
    async fn lasting_edus(&self, server: &ServerName, limit: usize) -> Result<Vec<LastingEdu>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let range = KeyRange::prefix([b"e\0", server.as_bytes(), &[0]].concat());
        let rows = self
            .seams
            .store
            .scan(Table::Federation, range, Direction::Forward, limit)
            .await?;
        let mut bytes = 0;
        let mut edus = Vec::new();
        for (key, value) in rows {
            bytes += value.len();
            if bytes > MAX_LASTING_BYTES && !edus.is_empty() {
                break;
            }
            let edu = serde_json::from_slice(&value).ok();
            let edu = edu.filter(|edu| is_sendable(edu, MAX_EDU_NESTING));
            if edu.is_none() {
                tracing::error!(%server, bytes = value.len(), "an EDU that cannot be sent is dropped");
            }
            edus.push((key, edu));
        }
        Ok(edus)
    }

    /// Copies the next events, takes the EDUs, and says how many lasting ones to send; marks the queue idle if there
    /// is nothing.
    fn take_next(&self, server: &ServerName, most: usize) -> Option<(Vec<Mail>, Edus, usize)> {
        let mut queues = self.outbox.queues();
        let queue = queues.get_mut(server)?;
        let (events, lasting) = queue.shares(most);
        let mail: Vec<_> = queue.events.iter().take(events).cloned().collect();
        if queue.is_empty() {
            queue.active = false;
            return None;
        }
        Some((mail, std::mem::take(&mut queue.edus), lasting))
    }

    /// Forgets what was delivered, in memory and in the store.
    async fn take_off(&self, server: &ServerName, positions: &[u64], lasting: &[Vec<u8>]) {
        let mut batch = WriteBatch::new();
        for position in positions {
            batch.delete(Table::Federation, outbox_key(server, *position));
        }
        for key in lasting {
            batch.delete(Table::Federation, key.clone());
        }
        if let Some(queue) = self.outbox.queues().get_mut(server) {
            queue.events.retain(|mail| !positions.contains(&mail.position));
            queue.lasting = queue.lasting.saturating_sub(lasting.len());
        }
        if batch.is_empty() {
            return;
        }
        // What stays in the store is sent again after a restart, which other servers take for what it is.
        if let Err(error) = self.seams.store.commit(batch).await {
            tracing::error!(%server, %error, "delivered events stay queued");
        }
    }
}

fn note_refusals(server: &ServerName, answer: &Value) {
    let pdus = answer.get("pdus").and_then(Value::as_object);
    for (event_id, result) in pdus.into_iter().flatten() {
        if let Some(error) = result.get("error") {
            tracing::warn!(%server, event_id, %error, "an event was refused");
        }
    }
}

fn outbox_key(server: &ServerName, position: u64) -> Vec<u8> {
    [b"o\0", server.as_bytes(), &[0], &position.to_be_bytes()].concat()
}

fn edu_key(server: &ServerName, number: u64) -> Vec<u8> {
    [b"e\0", server.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// The server that a lasting EDU is for, and its number.
fn parse_edu_key(key: &[u8]) -> Option<(OwnedServerName, u64)> {
    let (rest, number) = key.strip_prefix(b"e\0")?.split_last_chunk::<8>()?;
    let server = ServerName::parse(str::from_utf8(rest.strip_suffix(&[0])?).ok()?).ok()?;
    Some((server, u64::from_be_bytes(*number)))
}

fn parse_row(key: &[u8], value: &[u8]) -> Option<(OwnedServerName, Mail)> {
    let (rest, position) = key.strip_prefix(b"o\0")?.split_last_chunk::<8>()?;
    let server = ServerName::parse(str::from_utf8(rest.strip_suffix(&[0])?).ok()?).ok()?;
    let value = str::from_utf8(value).ok()?;
    let (room_id, event_id) = match value.split_once('\0') {
        Some((room_id, event_id)) => (Some(RoomId::parse(room_id).ok()?), event_id),
        None => (None, value),
    };
    Some((
        server,
        Mail {
            position: u64::from_be_bytes(*position),
            event_id: EventId::parse(event_id).ok()?,
            room_id,
            event: None,
        },
    ))
}
