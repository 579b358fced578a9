//! Guests leave a room that no longer lets them in. Spec: Client-Server API, section 'Guest Access', 'Server behaviour'.
//!
//! Each server sees to its own guests, whoever closed the room. It is done behind the change of the room, and once more for
//! all rooms at the start, because a stop may come in between.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use ruma_common::{RoomId, UserId};

use crate::{Error, Homeserver};

/// What the others in the room read.
const REASON: &str = "The room does not let guests in";

impl Homeserver {
    /// Has the guests of this server leave a room, behind the caller, if it does not let guests in.
    pub(crate) fn dismiss_guests(&self, room_id: &RoomId) {
        let members = self.local_members(room_id).into_iter();
        let guests: Vec<_> = members.filter(|member| self.standing(member).guest).collect();
        if guests.is_empty() {
            return;
        }
        let room_id = room_id.to_owned();
        self.spawn(|homeserver| async move {
            for guest in guests {
                if let Err(error) = homeserver.dismiss(&guest, &room_id).await {
                    tracing::warn!(%guest, %room_id, %error, "a guest could not leave a room");
                }
            }
        });
    }

    /// Does so for all rooms.
    pub(crate) fn dismiss_all_guests(&self) {
        let guests = self.guests().into_iter();
        let rooms: BTreeSet<_> = ordered::set(guests.flat_map(|guest| self.joined_rooms(&guest)));
        for room_id in rooms {
            self.dismiss_guests(&room_id);
        }
    }

    async fn dismiss(&self, guest: &UserId, room_id: &RoomId) -> Result<(), Error> {
        match self.check_guest(guest, room_id).await {
            Err(Error::GuestForbidden(_)) => self.leave_room(guest, room_id, Some(REASON.into())).await,
            outcome => outcome,
        }
    }
}
