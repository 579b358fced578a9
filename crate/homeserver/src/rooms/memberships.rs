//! Which rooms each local user has to do with: kept in memory, stored in `Table::Memberships`.
//!
//! Rows `u\0user\0room` are local users' own; rows `r\0room\0user` are everybody's in the rooms held here.
//! Rows `i\0user\0room` hold the stripped state of invites.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{PoisonError, RwLock},
};

use hearth_storage::{Store, Table};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, scan_all},
};

/// The membership of a local user in one room, as the user's own view of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMembership {
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The membership event, which may be one that only the invite brought.
    pub event_id: OwnedEventId,
    /// The log position at which it became so.
    pub position: u64,
    /// The log position at which the user joined last, if they ever did.
    #[serde(default)]
    pub joined_at: Option<u64>,
}

/// The membership of any user in a room held here, as stored beside the current state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMember {
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The membership event.
    pub event_id: OwnedEventId,
}

/// The memberships of all local users.
#[derive(Default)]
pub(crate) struct UserRooms {
    rooms: RwLock<HashMap<OwnedUserId, BTreeMap<OwnedRoomId, UserMembership>>>,
}

impl UserRooms {
    /// Reads them from `store`.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let rows = scan_all(store, Table::Memberships, b"u\0").await?;
        let mut rooms = HashMap::<_, BTreeMap<_, _>>::new();
        for (key, value) in rows {
            let (user_id, room_id) = parse_key(&key)?;
            let membership = from_slice(&value)?;
            rooms.entry(user_id).or_default().insert(room_id, membership);
        }
        Ok(Self {
            rooms: RwLock::new(rooms),
        })
    }

    /// Shows what was committed: a new membership, or `None` for a room that was forgotten.
    pub(crate) fn publish(&self, user_id: &UserId, room_id: &RoomId, membership: Option<UserMembership>) {
        let mut users = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let rooms = users.entry(user_id.to_owned()).or_default();
        match membership {
            Some(membership) => rooms.insert(room_id.to_owned(), membership),
            None => rooms.remove(room_id),
        };
    }

    /// The rooms with a joined local user.
    pub(crate) fn all_joined(&self) -> BTreeSet<OwnedRoomId> {
        let users = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        let entries = users.values().flatten();
        entries
            .filter(|(_, entry)| entry.membership == "join")
            .map(|(room_id, _)| room_id.clone())
            .collect()
    }

    fn read<T>(&self, user_id: &UserId, read: impl FnOnce(&BTreeMap<OwnedRoomId, UserMembership>) -> T) -> T {
        let users = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        match users.get(user_id) {
            Some(rooms) => read(rooms),
            None => read(&BTreeMap::new()),
        }
    }
}

impl Homeserver {
    /// Every room that the local user has to do with and has not forgotten, and how.
    pub fn memberships(&self, user_id: &UserId) -> BTreeMap<OwnedRoomId, UserMembership> {
        self.user_rooms.read(user_id, BTreeMap::clone)
    }

    /// The membership of a local user in one room; `None` if they never had one or forgot it.
    pub fn user_membership(&self, user_id: &UserId, room_id: &RoomId) -> Option<UserMembership> {
        self.user_rooms.read(user_id, |rooms| rooms.get(room_id).cloned())
    }

    /// The rooms that the local user is joined to.
    pub fn joined_rooms(&self, user_id: &UserId) -> Vec<OwnedRoomId> {
        let joined = |(room_id, entry): (&OwnedRoomId, &UserMembership)| {
            (entry.membership == "join").then(|| room_id.clone())
        };
        self.user_rooms
            .read(user_id, |rooms| rooms.iter().filter_map(joined).collect())
    }

    /// The local users joined to a room.
    pub fn local_members(&self, room_id: &RoomId) -> Vec<OwnedUserId> {
        let users = self
            .user_rooms
            .rooms
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let joined = |rooms: &BTreeMap<OwnedRoomId, UserMembership>| {
            rooms.get(room_id).is_some_and(|entry| entry.membership == "join")
        };
        users
            .iter()
            .filter(|(_, rooms)| joined(rooms))
            .map(|(user_id, _)| user_id.clone())
            .collect()
    }

    /// The stripped state that came with the user's invite to the room, the membership event last.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn invite_state(&self, user_id: &UserId, room_id: &RoomId) -> Result<Vec<JsonObject>, Error> {
        let key = invite_key(user_id, room_id);
        match self.seams.store.get(Table::Memberships, &key).await? {
            Some(value) => from_slice(&value),
            None => Ok(Vec::new()),
        }
    }
}

/// The key of a local user's own row.
pub(crate) fn user_key(user_id: &UserId, room_id: &RoomId) -> Vec<u8> {
    key(b'u', user_id.as_str(), room_id.as_str())
}

/// The key of a member's row of a room.
pub(crate) fn member_key(room_id: &RoomId, user_id: &UserId) -> Vec<u8> {
    key(b'r', room_id.as_str(), user_id.as_str())
}

/// The key of the stripped state of an invite.
pub(crate) fn invite_key(user_id: &UserId, room_id: &RoomId) -> Vec<u8> {
    key(b'i', user_id.as_str(), room_id.as_str())
}

fn key(kind: u8, first: &str, second: &str) -> Vec<u8> {
    [&[kind, 0], first.as_bytes(), &[0], second.as_bytes()].concat()
}

fn parse_key(key: &[u8]) -> Result<(OwnedUserId, OwnedRoomId), Error> {
    let damaged = || Error::Damaged("membership key".into());
    let text = str::from_utf8(key).map_err(|_| damaged())?;
    let mut parts = text.split('\0').skip(1);
    let (user_id, room_id) = parts.next().zip(parts.next()).ok_or_else(damaged)?;
    let user_id = UserId::parse(user_id).map_err(|_| damaged())?;
    let room_id = RoomId::parse(room_id).map_err(|_| damaged())?;
    Ok((user_id, room_id))
}
