//! The state of a room at an event, for other servers. Spec: Server-Server API, section 'Retrieving events'.

use std::sync::Arc;

use ruma_common::{EventId, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{Error, Homeserver, federation::received::to_value, rooms::event::StoredEvent};

impl Homeserver {
    /// Answers `GET /state_ids`: ids of the state before `event_id`, and of its auth chain.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the event or its state is not known, [`Error::Forbidden`].
    pub async fn federation_state_ids(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Value, Error> {
        let (state, chain) = self.state_and_chain(origin, room_id, event_id).await?;
        let ids = |events: &[Arc<StoredEvent>]| -> Vec<_> {
            events.iter().map(|event| event.event_id.clone()).collect()
        };
        Ok(json!({ "pdu_ids": ids(&state), "auth_chain_ids": ids(&chain) }))
    }

    /// Answers `GET /state`: the events themselves.
    ///
    /// # Errors
    /// As [`Homeserver::federation_state_ids`].
    pub async fn federation_state(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Value, Error> {
        let (state, chain) = self.state_and_chain(origin, room_id, event_id).await?;
        let values = |events: &[Arc<StoredEvent>]| {
            events
                .iter()
                .map(|event| to_value(&event.pdu))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(json!({ "pdus": values(&state)?, "auth_chain": values(&chain)? }))
    }

    /// The state before an event, and what it rests on.
    async fn state_and_chain(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<(Vec<Arc<StoredEvent>>, Vec<Arc<StoredEvent>>), Error> {
        self.shared_room(origin, room_id).await?;
        let event = self.stored_event(event_id).await?;
        let event = event.filter(|event| event.room_id() == room_id && event.decision.state_before.is_some());
        let event =
            event.ok_or_else(|| Error::NotFound("the state at this event is not known here".into()))?;
        let ids: Vec<_> = self.state_before(&event).await?.into_values().collect();
        let state = self.stored_events(&ids).await?;
        let chain = self.auth_chain(&state).await?;
        Ok((state, chain))
    }
}
