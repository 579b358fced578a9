//! Comparing the newest events ("heads", the forward extremities) of shared rooms with other servers, and fetching
//! those that are missing here. It repairs what was never sent, or was given up: a server that was not known to be
//! in a room when something was said there, a queue that was cut short, a database that was restored.
//!
//! `POST /_matrix/federation/unstable/org.hearth/heads` is an extension of ours. One request tells the heads of all
//! shared rooms, in both directions: the answer names only what differs. Servers that do not know it are left alone.
//! It takes place a few seconds after a connection has come up, or a server has come into a room, so that what is on
//! its way arrives first; and with the same server only every [`LEAST_PAUSE`]. The heads that are missing are taken
//! in as if they had been sent, what came before them included.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hearth_rooms::pdu::MAX_PREV_EVENTS;
use hearth_storage::Table;
use http::Method;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde_json::{Map, Value, json};

use crate::{
    Error, Homeserver,
    federation::{
        received::{event_ids, take_array},
        request::RequestError,
        uri::path,
    },
    rooms::member_counts::server_key,
};

/// How long what is on its way is waited for.
const PAUSE: Duration = Duration::from_secs(5);
/// How much longer it may be, in milliseconds: both ends of a connection do not begin at once.
const SPREAD: u64 = 3_000;
/// The shortest time between two comparisons with the same server.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// How long it may take to fetch what came before the heads of one room.
const PATIENCE: Duration = Duration::from_secs(300);
/// The most rooms of one request.
const MAX_ROOMS: usize = 100;
/// With about how many servers heads are compared when a server comes into a room.
const MAX_PEERS: usize = 8;
/// The most servers that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Heads by room.
type Heads = BTreeMap<OwnedRoomId, Vec<OwnedEventId>>;

/// With whom heads are or were compared.
#[derive(Default)]
pub(crate) struct Comparisons {
    peers: Mutex<BTreeMap<OwnedServerName, Comparison>>,
}

#[derive(Default)]
struct Comparison {
    /// When heads were compared last, in milliseconds since the Unix epoch.
    last: Option<u64>,
    /// Whether a task is about to compare them.
    due: bool,
    /// Whether a task fetches what was missing.
    fetching: bool,
}

impl Comparisons {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedServerName, Comparison>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that heads are about to be compared with `server`; `false` if that was noted already.
    fn plan(&self, server: &ServerName) -> bool {
        let mut peers = self.lock();
        if peers.len() >= MAX_REMEMBERED {
            peers.retain(|_, peer| peer.due || peer.fetching);
        }
        let peer = peers.entry(server.to_owned()).or_default();
        !std::mem::replace(&mut peer.due, true)
    }

    fn last(&self, server: &ServerName) -> Option<u64> {
        self.lock().get(server)?.last
    }

    /// Heads are being compared with `server`.
    fn begin(&self, server: &ServerName, now: u64) {
        let mut peers = self.lock();
        let peer = peers.entry(server.to_owned()).or_default();
        (peer.last, peer.due) = (Some(now), false);
    }

    /// Notes whether a task fetches from `server`; whether one did so.
    fn set_fetching(&self, server: &ServerName, fetching: bool) -> bool {
        let mut peers = self.lock();
        let peer = peers.entry(server.to_owned()).or_default();
        std::mem::replace(&mut peer.fetching, fetching)
    }
}

impl Homeserver {
    /// Compares heads with `server` in a moment, unless that is planned already or no room is shared by then.
    pub(crate) fn compare_heads_soon(&self, server: &ServerName) {
        if server == self.server_name() || !self.comparisons.plan(server) {
            return;
        }
        let server = server.to_owned();
        self.spawn(|homeserver| async move {
            homeserver.wait_to_compare(&server).await;
            homeserver.comparisons.begin(&server, homeserver.now());
            if let Err(error) = homeserver.compare_heads(&server).await {
                tracing::info!(%server, %error, "heads were not compared");
            }
        });
    }

    /// Compares heads in a moment with `servers`, which have come together with this one in a room that has
    /// `count` servers; with about [`MAX_PEERS`] of them in a large one.
    pub(crate) fn compare_heads_with_some(&self, servers: &BTreeSet<OwnedServerName>, count: usize) {
        for server in servers.iter().filter(|_| self.is_one_of_few(count)) {
            self.compare_heads_soon(server);
        }
    }

    /// Whether this server does what a few of a room's `count` servers are to do, if each of them asks itself this.
    pub(crate) fn is_one_of_few(&self, count: usize) -> bool {
        count <= MAX_PEERS || self.random_number() % (count as u64) < MAX_PEERS as u64
    }

    async fn wait_to_compare(&self, server: &ServerName) {
        let pause = PAUSE + Duration::from_millis(self.random_number() % SPREAD);
        let allowed = self.comparisons.last(server).map_or(0, |last| {
            last.saturating_add(u64::try_from(LEAST_PAUSE.as_millis()).unwrap_or(u64::MAX))
        });
        let rest = Duration::from_millis(allowed.saturating_sub(self.now()));
        self.seams.clock.sleep(pause.max(rest)).await;
    }

    async fn compare_heads(&self, server: &ServerName) -> Result<(), Error> {
        let shared = self.rooms_shared_with(server).await?;
        let mut missing = Heads::new();
        for rooms in shared.chunks(MAX_ROOMS) {
            let uri = path("unstable/org.hearth/heads", &[], "");
            let mut ours = Map::new();
            for room_id in rooms {
                ours.insert(room_id.to_string(), json!(self.heads_of(room_id).await?));
            }
            let body = json!({ "rooms": ours });
            let answer = match self.request(server, Method::POST, &uri, Some(body)).await {
                Err(RequestError::Refused { errcode, .. }) if errcode == "M_UNRECOGNIZED" => return Ok(()),
                answer => answer?,
            };
            for room_id in rooms {
                let told = told(&answer, room_id);
                missing.insert(room_id.clone(), self.not_settled(told).await?);
            }
        }
        self.fetch_heads_from(server, missing);
        Ok(())
    }

    /// Answers `POST /heads`: of each room of `body` in which `origin` is, the heads held here, if they are not
    /// the same as those that it names. What it names and is missing here is fetched, also if `origin` is in the
    /// room without anybody here having heard of its join.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it names too many rooms.
    pub async fn tell_heads(&self, origin: &ServerName, body: &Value) -> Result<Value, Error> {
        let named = body.get("rooms").and_then(Value::as_object);
        if named.is_some_and(|rooms| rooms.len() > MAX_ROOMS) {
            return Err(Error::InvalidParam(format!("more than {MAX_ROOMS} rooms")));
        }
        self.comparisons.begin(origin, self.now());
        let (mut answer, mut missing) = (Map::new(), Heads::new());
        for room_id in named.into_iter().flat_map(Map::keys) {
            let Ok(room_id) = RoomId::parse(room_id.as_str()) else {
                continue;
            };
            let theirs = told(body, &room_id);
            match self.shared_room(origin, &room_id).await {
                Ok(_) => (),
                Err(Error::Forbidden(_)) => {
                    missing.insert(room_id, self.not_settled(theirs).await?);
                    continue;
                }
                Err(Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            }
            let ours = self.heads_of(&room_id).await?;
            if ours.iter().collect::<BTreeSet<_>>() == theirs.iter().collect() {
                continue;
            }
            answer.insert(room_id.to_string(), json!(ours));
            missing.insert(room_id, self.not_settled(theirs).await?);
        }
        self.fetch_heads_from(origin, missing);
        Ok(json!({ "rooms": answer }))
    }

    /// The rooms that users of both servers are joined to.
    pub(super) async fn rooms_shared_with(&self, server: &ServerName) -> Result<Vec<OwnedRoomId>, Error> {
        let rooms: Vec<_> = self.user_rooms.all_joined().into_iter().collect();
        let keys: Vec<_> = rooms.iter().map(|room_id| server_key(room_id, server)).collect();
        let rows = self.seams.store.get_many(Table::Memberships, &keys).await?;
        let named = |room_id: &RoomId| {
            let partial = self.partial.get(room_id);
            partial.is_some_and(|partial| partial.servers.contains(server))
        };
        let shared = rooms
            .into_iter()
            .zip(rows)
            .filter(|(room_id, row)| row.is_some() || named(room_id));
        Ok(shared.map(|(room_id, _)| room_id).collect())
    }

    async fn heads_of(&self, room_id: &RoomId) -> Result<Vec<OwnedEventId>, Error> {
        let room = self.room(room_id).await?;
        Ok(room.map_or_else(Vec::new, |room| room.snapshot().record.extremities.clone()))
    }

    /// Those of `heads` that are not held here, or only as outliers.
    async fn not_settled(&self, mut heads: Vec<OwnedEventId>) -> Result<Vec<OwnedEventId>, Error> {
        for event in self.stored_events(&heads).await? {
            if event.decision.state_before.is_some() {
                heads.retain(|id| *id != event.event_id);
            }
        }
        Ok(heads)
    }

    /// Fetches `missing` from `server` in the background, unless something is being fetched from it.
    fn fetch_heads_from(&self, server: &ServerName, mut missing: Heads) {
        missing.retain(|_, heads| !heads.is_empty());
        tracing::debug!(%server, ?missing, "heads were compared");
        if missing.is_empty() || self.comparisons.set_fetching(server, true) {
            return;
        }
        let server = server.to_owned();
        self.spawn(|homeserver| async move {
            for (room_id, heads) in missing {
                if let Err(error) = homeserver.fetch_heads(&server, &room_id, &heads).await {
                    tracing::info!(%server, %room_id, %error, "missing heads were not given");
                }
            }
            homeserver.comparisons.set_fetching(&server, false);
        });
    }

    /// Fetches `heads` of a room, and takes them in as if `server` had sent them, unless the room does not let it speak.
    async fn fetch_heads(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        heads: &[OwnedEventId],
    ) -> Result<(), Error> {
        if !self.lets_speak(server, room_id).await? {
            return Ok(());
        }
        let uri = path("unstable/org.hearth/events", &[room_id.as_str()], "");
        let body = json!({ "event_ids": heads });
        let mut answer = self.request(server, Method::POST, &uri, Some(body)).await?;
        let mut gaps = self.gaps(MAX_PREV_EVENTS, PATIENCE);
        for value in take_array(&mut answer, "pdus", MAX_PREV_EVENTS) {
            self.receive_pdu(server, value, &mut gaps).await?;
        }
        Ok(())
    }
}

/// The heads that `body` names of a room.
fn told(body: &Value, room_id: &RoomId) -> Vec<OwnedEventId> {
    let rooms = body.get("rooms");
    rooms.map_or_else(Vec::new, |rooms| {
        event_ids(rooms, room_id.as_str(), MAX_PREV_EVENTS)
    })
}
