//! A room as it is kept in memory while it is used.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use hearth_rooms::RoomVersion;
use hearth_storage::Table;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        client_event::stripped,
        event::StoredEvent,
        tree::{Nodes, empty_root},
    },
    stored::from_slice,
};

/// The state that describes a room to whom is invited to it. Spec: Client-Server API, section 'Stripped state'.
const INVITE_STATE: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.tombstone",
];

/// What is stored about a room itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// The room version.
    #[serde(with = "version")]
    pub version: RoomVersion,
    /// The newest events, which the next event names as its `prev_events`.
    pub extremities: Vec<OwnedEventId>,
    /// The root of the tree of the current state.
    pub state: String,
    /// The greatest depth seen.
    pub depth: u64,
    /// The order of the oldest back-filled event, 0 if there is none.
    #[serde(default)]
    pub oldest: i64,
}

impl RoomRecord {
    /// The record of a room in which nothing has happened yet.
    pub(crate) fn new(version: RoomVersion) -> Self {
        Self {
            version,
            extremities: Vec::new(),
            state: empty_root(),
            depth: 0,
            oldest: 0,
        }
    }
}

mod version {
    use hearth_rooms::RoomVersion;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(version: &RoomVersion, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(version.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomVersion, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A room: its writers' lock and its present snapshot.
pub struct Room {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Held by whoever changes the room, from reading the snapshot until the change is committed.
    pub(crate) lock: Arc<async_lock::Mutex<()>>,
    /// Held by whoever takes in events of other servers, also while it asks those for what is missing. Never
    /// taken while `lock` is held.
    pub(crate) inbound: Arc<async_lock::Mutex<()>>,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Room {
    /// A room that does not exist yet.
    pub(crate) fn new(room_id: OwnedRoomId, version: RoomVersion) -> Arc<Self> {
        Self::with_snapshot(
            room_id,
            Snapshot {
                record: RoomRecord::new(version),
                state: Arc::default(),
            },
        )
    }

    fn with_snapshot(room_id: OwnedRoomId, snapshot: Snapshot) -> Arc<Self> {
        let snapshot = RwLock::new(Arc::new(snapshot));
        Arc::new(Self {
            room_id,
            lock: Arc::default(),
            inbound: Arc::default(),
            snapshot,
        })
    }

    /// The room as of the last commit.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// A room at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What is stored about the room.
    pub record: RoomRecord,
    /// The current state.
    pub state: Arc<CurrentState>,
}

impl Snapshot {
    /// The room version.
    pub fn version(&self) -> RoomVersion {
        self.record.version
    }
}

/// The current state of a room: its events by type and state key.
#[derive(Clone, Debug, Default)]
pub struct CurrentState {
    events: BTreeMap<String, BTreeMap<String, Arc<StoredEvent>>>,
    /// How many members of each server are joined.
    servers: BTreeMap<OwnedServerName, usize>,
}

impl CurrentState {
    /// The event of `kind` with `state_key`.
    pub fn get(&self, kind: &str, state_key: &str) -> Option<&Arc<StoredEvent>> {
        self.events.get(kind)?.get(state_key)
    }

    /// Every state event.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.events.values().flat_map(BTreeMap::values)
    }

    /// Every `m.room.member` event.
    pub fn members(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.events
            .get("m.room.member")
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The membership of a user; `leave` if there is none.
    pub fn membership(&self, user_id: &UserId) -> &str {
        let member = self.get("m.room.member", user_id.as_str());
        member
            .and_then(|event| event.content_text("membership"))
            .unwrap_or("leave")
    }

    /// The stripped state that `user_id` is shown with an invite, the invite last.
    pub(crate) fn stripped_for(&self, user_id: &UserId) -> Vec<JsonObject> {
        let described = INVITE_STATE.into_iter().filter_map(|kind| self.get(kind, ""));
        let invite = self.get("m.room.member", user_id.as_str());
        let sender = invite.and_then(|invite| self.get("m.room.member", invite.sender().as_str()));
        let sender = sender.filter(|sender| sender.state_key() != Some(user_id.as_str()));
        described
            .chain(sender)
            .chain(invite)
            .map(|event| stripped(event))
            .collect()
    }

    /// Puts `event` into the state.
    pub(crate) fn set(&mut self, event: Arc<StoredEvent>) {
        let Some(state_key) = event.state_key().map(str::to_owned) else {
            return;
        };
        let is_member = event.kind() == "m.room.member";
        self.events
            .entry(event.kind().to_owned())
            .or_default()
            .insert(state_key, event);
        if is_member {
            self.count_servers();
        }
    }

    /// Takes `(kind, state_key)` out of the state.
    pub(crate) fn remove(&mut self, kind: &str, state_key: &str) {
        if let Some(events) = self.events.get_mut(kind) {
            events.remove(state_key);
        }
        if kind == "m.room.member" {
            self.count_servers();
        }
    }

    /// Replaces the copy of `event` in the state, if there is one, with this one.
    pub(crate) fn refresh(&mut self, event: &Arc<StoredEvent>) {
        let Some(state_key) = event.state_key() else {
            return;
        };
        let here = self
            .events
            .get_mut(event.kind())
            .and_then(|events| events.get_mut(state_key));
        if let Some(here) = here.filter(|here| here.event_id == event.event_id) {
            *here = event.clone();
        }
    }

    /// The state made of `events`.
    pub(crate) fn of(events: impl IntoIterator<Item = Arc<StoredEvent>>) -> Self {
        let mut state = Self::default();
        for event in events {
            let Some(state_key) = event.state_key().map(str::to_owned) else {
                continue;
            };
            state
                .events
                .entry(event.kind().to_owned())
                .or_default()
                .insert(state_key, event);
        }
        state.count_servers();
        state
    }

    fn count_servers(&mut self) {
        let mut servers = BTreeMap::new();
        for event in self
            .members()
            .filter(|event| event.content_text("membership") == Some("join"))
        {
            if let Some(user_id) = event.state_key().and_then(|user| UserId::parse(user).ok()) {
                *servers.entry(user_id.server_name().to_owned()).or_default() += 1;
            }
        }
        self.servers = servers;
    }

    /// How many users are joined.
    pub fn joined_count(&self) -> usize {
        self.servers.values().sum()
    }

    /// The servers with a joined member.
    pub fn servers(&self) -> impl Iterator<Item = &OwnedServerName> {
        self.servers.keys()
    }
}

/// The rooms that are in memory.
#[derive(Default)]
pub(crate) struct RoomCache {
    rooms: Mutex<HashMap<OwnedRoomId, Arc<Room>>>,
}

impl RoomCache {
    fn get(&self, room_id: &RoomId) -> Option<Arc<Room>> {
        self.rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(room_id)
            .cloned()
    }

    /// Keeps `room`, unless the same is kept already; returns the one that is kept.
    pub(crate) fn keep(&self, room: &Arc<Room>) -> Arc<Room> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms
            .entry(room.room_id.clone())
            .or_insert_with(|| room.clone())
            .clone()
    }
}

impl Homeserver {
    /// The room `room_id`, from memory or the store; `None` if it is not held here.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, Error> {
        if let Some(room) = self.rooms.get(room_id) {
            return Ok(Some(room));
        }
        let Some(value) = self.seams.store.get(Table::Rooms, room_id.as_bytes()).await? else {
            return Ok(None);
        };
        let record: RoomRecord = from_slice(&value)?;
        let ids: Vec<_> = self
            .tree_state(&record.state, &Nodes::default())
            .await?
            .into_values()
            .collect();
        let state = Arc::new(CurrentState::of(self.stored_events(&ids).await?));
        let room = Room::with_snapshot(room_id.to_owned(), Snapshot { record, state });
        Ok(Some(self.rooms.keep(&room)))
    }
}
