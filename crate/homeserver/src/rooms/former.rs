//! Servers that were in a room and are not any more.
//!
//! A server may be removed while it believes to be in the room: it did things on a branch of the graph that another
//! branch does not allow. It has to hear of it, and may ask for what led to it. Rows `x\0room\0server` of
//! `Table::Memberships` hold the log position at which each server was removed last.

use hearth_storage::Table;
use ruma_common::{RoomId, ServerName};

use crate::{Error, Homeserver, rooms::event::StoredEvent};

impl Homeserver {
    /// Whether `server` was in the room when `event` arrived here, or was removed by it. When the events arrived that
    /// states rest on is not known; those that were refused since it was removed may be its own, after anything.
    pub(crate) async fn was_in_room_until(
        &self,
        server: &ServerName,
        event: &StoredEvent,
    ) -> Result<bool, Error> {
        let key = former_key(event.room_id(), server);
        let Some(row) = self.seams.store.get(Table::Memberships, &key).await? else {
            return Ok(false);
        };
        let removed = <[u8; 8]>::try_from(&*row).map_err(|_| Error::Damaged("a former server".into()))?;
        let removed = u64::from_be_bytes(removed).cast_signed();
        let is_outlier = event.decision.state_before.is_none();
        let order = event.decision.order;
        Ok(order.map_or(is_outlier, |order| order <= removed))
    }
}

/// The key of a server that was in a room.
pub(super) fn former_key(room_id: &RoomId, server: &ServerName) -> Vec<u8> {
    [b"x\0", room_id.as_bytes(), &[0], server.as_bytes()].concat()
}
