//! A room as it is kept in memory while it is used.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use hearth_rooms::RoomVersion;
use hearth_storage::Table;
use lru::LruCache;
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver,
    rooms::{
        member_counts::{MemberCounts, ServerCounts},
        outgoing::Outgoing,
        partial::Partial,
        tree::empty_root,
    },
    stored::from_slice,
};

/// How many rooms are kept in memory while nobody uses them.
const MAX_ROOMS: usize = 256;
/// How many rooms are looked at for one that nobody uses.
const MAX_TRIES: usize = 8;

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
    /// Set while the current state lacks members, who come behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// The log position at which a partial state became whole last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_since: Option<u64>,
    /// How many members the current state has; `None` in a record of before they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MemberCounts>,
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
            partial: None,
            whole_since: None,
            members: Some(MemberCounts::default()),
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
    /// Held by whoever asks other servers for what is missing in the room, until that is taken in, and who makes its
    /// state whole. Events whose past is known are taken in without it. Never taken while `lock` is held.
    pub(crate) inbound: Arc<async_lock::Mutex<()>>,
    /// Messages of local users that wait for the room.
    pub(crate) outgoing: Outgoing,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Room {
    /// A room that does not exist yet.
    pub(crate) fn new(room_id: OwnedRoomId, version: RoomVersion) -> Arc<Self> {
        Self::with_record(room_id, RoomRecord::new(version))
    }

    fn with_record(room_id: OwnedRoomId, record: RoomRecord) -> Arc<Self> {
        let snapshot = Snapshot {
            room_id: room_id.clone(),
            record,
            servers: OnceLock::new(),
        };
        let snapshot = RwLock::new(Arc::new(snapshot));
        Arc::new(Self {
            room_id,
            lock: Arc::default(),
            inbound: Arc::default(),
            outgoing: Outgoing::default(),
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

/// A room at one moment. Cheap to clone. Its state is read with [`Homeserver::view`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The room.
    pub room_id: OwnedRoomId,
    /// What is stored about the room.
    pub record: RoomRecord,
    /// The servers in the room, once somebody has asked for them. See [`Homeserver::servers`].
    pub(crate) servers: OnceLock<Arc<ServerCounts>>,
}

impl Snapshot {
    /// The room version.
    pub fn version(&self) -> RoomVersion {
        self.record.version
    }

    /// How many members the room has.
    pub fn members(&self) -> MemberCounts {
        self.record.members.unwrap_or_default()
    }
}

/// The rooms that are in memory: those that somebody holds, and those used last.
pub(crate) struct RoomCache {
    rooms: Mutex<LruCache<OwnedRoomId, Arc<Room>>>,
}

impl Default for RoomCache {
    fn default() -> Self {
        Self {
            rooms: Mutex::new(LruCache::unbounded()),
        }
    }
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
        let kept = rooms.get_or_insert(room.room_id.clone(), || room.clone()).clone();
        shrink(&mut rooms);
        kept
    }
}

/// Drops rooms beyond [`MAX_ROOMS`] that were not used for the longest time. A room that somebody holds stays:
/// its lock must remain the only one. Nobody can take hold of one meanwhile, because that takes the cache's lock.
fn shrink(rooms: &mut LruCache<OwnedRoomId, Arc<Room>>) {
    for _ in 0..MAX_TRIES {
        if rooms.len() <= MAX_ROOMS {
            return;
        }
        let Some((room_id, room)) = rooms.pop_lru() else {
            return;
        };
        if Arc::strong_count(&room) > 1 {
            rooms.put(room_id, room);
        }
    }
}

impl Homeserver {
    /// The room `room_id`, from memory or the store; `None` if it is not held here.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, Error> {
        let room = match self.rooms.get(room_id) {
            Some(room) => room,
            None => match self.read_record(room_id).await? {
                Some(record) => self.rooms.keep(&Room::with_record(room_id.to_owned(), record)),
                None => return Ok(None),
            },
        };
        if room.snapshot().record.members.is_none() {
            self.count_members(&room).await?;
        }
        Ok(Some(room))
    }

    /// Reads those of `rooms` that are not in memory, all at once.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn warm_rooms(&self, rooms: &[&RoomId]) -> Result<(), Error> {
        let missing: Vec<_> = rooms
            .iter()
            .filter(|room_id| !self.is_in_memory(room_id))
            .collect();
        if missing.len() < 2 {
            return Ok(());
        }
        let keys: Vec<_> = missing
            .iter()
            .map(|room_id| room_id.as_bytes().to_vec())
            .collect();
        let rows = self.seams.store.get_many(Table::Rooms, &keys).await?;
        for (room_id, row) in missing.into_iter().zip(rows) {
            if let Some(row) = row {
                let record = from_slice(&row)?;
                self.rooms.keep(&Room::with_record((*room_id).to_owned(), record));
            }
        }
        Ok(())
    }

    /// Whether the room is in memory already.
    pub(crate) fn is_in_memory(&self, room_id: &RoomId) -> bool {
        self.rooms.get(room_id).is_some()
    }

    async fn read_record(&self, room_id: &RoomId) -> Result<Option<RoomRecord>, Error> {
        let value = self.seams.store.get(Table::Rooms, room_id.as_bytes()).await?;
        value.map(|value| from_slice(&value)).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    fn room(number: usize) -> Arc<Room> {
        let room_id = RoomId::parse(format!("!{number}:x")).unwrap();
        Room::new(room_id, RoomVersion::V12)
    }

    #[test]
    fn rooms_that_nobody_uses_are_dropped() {
        let cache = RoomCache::default();
        let held = cache.keep(&room(0));
        for number in 1..=3 * MAX_ROOMS {
            cache.keep(&room(number));
        }
        assert!(Arc::ptr_eq(&cache.get(&held.room_id).unwrap(), &held));
        assert!(cache.get(&room(1).room_id).is_none());
        assert!(cache.get(&room(3 * MAX_ROOMS).room_id).is_some());
        assert_eq!(cache.rooms.lock().unwrap().len(), MAX_ROOMS);
    }

    #[test]
    fn rooms_in_use_stay_however_many_they_are() {
        let cache = RoomCache::default();
        let held: Vec<_> = (0..2 * MAX_ROOMS)
            .map(|number| cache.keep(&room(number)))
            .collect();
        for room in &held {
            assert!(Arc::ptr_eq(&cache.get(&room.room_id).unwrap(), room));
        }
    }
}
