//! Single events between servers. Spec: Server-Server API, section 'Retrieving events'.

use ruma_common::{EventId, ServerName};
use serde_json::{Value, json};

use crate::{Error, Homeserver, federation::received::to_value};

impl Homeserver {
    /// Answers `GET /event/{eventId}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not held here or the server may not see it, as it may all state.
    pub async fn federation_event(&self, origin: &ServerName, event_id: &EventId) -> Result<Value, Error> {
        let not_found = || Error::NotFound("no such event, or your server may not see it".into());
        let event = self.stored_event(event_id).await?;
        let event = event
            .filter(|event| !event.decision.rejected)
            .ok_or_else(not_found)?;
        self.shared_room(origin, event.room_id())
            .await
            .map_err(|_| not_found())?;
        let is_state = event.state_key().is_some();
        if !is_state && !self.server_may_see(origin, &event).await? {
            return Err(not_found());
        }
        Ok(json!({
            "origin": self.server_name(),
            "origin_server_ts": self.now(),
            "pdus": [to_value(&*self.given_out(&event)?)?],
        }))
    }
}
