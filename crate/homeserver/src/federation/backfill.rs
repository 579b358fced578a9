//! Fetching history, both sides. Spec: Server-Server API, section 'Backfilling and retrieving missing events'.

use ruma_common::{OwnedEventId, RoomId, ServerName};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /backfill`: at most `limit` events, those of `from` and before them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here, [`Error::Forbidden`] if the server is not in it.
    pub async fn backfill(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Value, Error> {
        todo!()
    }

    /// Fetches history before the oldest event held of a room, about `limit` events, and puts it into the
    /// timeline before what is there. Returns how many events were added: 0 when there is no more, or nobody
    /// to ask answers.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn fetch_history(&self, room_id: &RoomId, limit: usize) -> Result<usize, Error> {
        todo!()
    }
}
