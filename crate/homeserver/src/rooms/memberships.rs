//! Which rooms each local user has to do with: kept in memory, stored in `Table::Memberships`.
//!
//! Rows `u\0user\0room` are local users' own; rows `r\0room\0user` are everybody's in the rooms held here.
//! Rows `i\0user\0room` hold the stripped state of invites.

use std::{
    collections::{BTreeMap, HashMap},
    sync::RwLock,
};

use hearth_storage::Store;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{Error, Homeserver, JsonObject};

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

/// The memberships of all local users.
#[derive(Default)]
pub(crate) struct UserRooms {
    rooms: RwLock<HashMap<OwnedUserId, BTreeMap<OwnedRoomId, UserMembership>>>,
}

impl UserRooms {
    /// Reads them from `store`.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        todo!()
    }
}

impl Homeserver {
    /// Every room that the local user has to do with and has not forgotten, and how.
    pub fn memberships(&self, user_id: &UserId) -> BTreeMap<OwnedRoomId, UserMembership> {
        todo!()
    }

    /// The membership of a local user in one room; `None` if they never had one or forgot it.
    pub fn user_membership(&self, user_id: &UserId, room_id: &RoomId) -> Option<UserMembership> {
        todo!()
    }

    /// The rooms that the local user is joined to.
    pub fn joined_rooms(&self, user_id: &UserId) -> Vec<OwnedRoomId> {
        todo!()
    }

    /// The local users joined to a room.
    pub fn local_members(&self, room_id: &RoomId) -> Vec<OwnedUserId> {
        todo!()
    }

    /// The stripped state that came with the user's invite to the room, the membership event last.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn invite_state(&self, user_id: &UserId, room_id: &RoomId) -> Result<Vec<JsonObject>, Error> {
        todo!()
    }
}
