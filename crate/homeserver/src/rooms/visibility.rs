//! Who may see which event. Spec: Client-Server API, section 'Room history visibility'.

use std::sync::Arc;

use ruma_common::{ServerName, UserId};

use crate::{Error, Homeserver, rooms::event::StoredEvent};

impl Homeserver {
    /// Those of `events` (of one room) that `user_id` may see, in order.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn visible_events(
        &self,
        user_id: &UserId,
        events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        todo!()
    }

    /// Whether any user of `server` may see `event`. Spec: Server-Server API, section 'Backfilling'.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn server_may_see(&self, server: &ServerName, event: &StoredEvent) -> Result<bool, Error> {
        todo!()
    }
}
