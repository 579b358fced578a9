//! A room as it is kept in memory while it is used.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, RoomVersionId, UserId};
use serde::{Deserialize, Serialize};

use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// What is stored about a room itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// The room version.
    pub version: RoomVersionId,
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

/// A room: its writers' lock and its present snapshot.
pub struct Room {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Held by whoever changes the room, from reading the snapshot until the change is committed.
    pub(crate) lock: Arc<async_lock::Mutex<()>>,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Room {
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

impl Homeserver {
    /// The room `room_id`, from memory or the store; `None` if it is not held here.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, Error> {
        todo!()
    }
}
