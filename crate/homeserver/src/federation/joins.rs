//! Joins through other servers that are under way. From the moment at which the helping server has taken the join,
//! others send what happens in the room, though it is not known here yet: that must come again later.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma_common::{OwnedRoomId, RoomId};

/// The rooms that are being joined, and by how many users.
#[derive(Default)]
pub(crate) struct Joins {
    rooms: Mutex<BTreeMap<OwnedRoomId, usize>>,
}

impl Joins {
    /// Notes that a join of the room is under way, until what is returned is dropped.
    pub(crate) fn begin(&self, room_id: &RoomId) -> Join<'_> {
        *self.rooms().entry(room_id.to_owned()).or_default() += 1;
        Join {
            joins: self,
            room_id: room_id.to_owned(),
        }
    }

    /// Whether a join of the room is under way.
    pub(crate) fn is_under_way(&self, room_id: &RoomId) -> bool {
        self.rooms().contains_key(room_id)
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, usize>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A join that is under way.
pub(crate) struct Join<'a> {
    joins: &'a Joins,
    room_id: OwnedRoomId,
}

impl Drop for Join<'_> {
    fn drop(&mut self) {
        let mut rooms = self.joins.rooms();
        if let Some(count) = rooms.get_mut(&self.room_id) {
            *count -= 1;
            if *count == 0 {
                rooms.remove(&self.room_id);
            }
        }
    }
}
