//! The state of a room at an event, for other servers. Spec: Server-Server API, section 'Retrieving events'.

use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use serde::Serialize;
use serde_json::json;

use crate::{Error, Homeserver, federation::bulk::BulkAnswer};

/// The answer to `GET /state_ids`.
#[derive(Debug, Serialize)]
pub struct StateIdsAnswer {
    /// The state.
    pub pdu_ids: Vec<OwnedEventId>,
    /// What it rests on.
    pub auth_chain_ids: Vec<OwnedEventId>,
}

impl Homeserver {
    /// Answers `GET /state_ids`: ids of the state before `event_id`, and of its auth chain.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the event or its state is not known, [`Error::PartialState`] if that is not known
    /// whole, [`Error::Forbidden`].
    pub async fn federation_state_ids(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<StateIdsAnswer, Error> {
        let event = self.stored_event(event_id).await?;
        self.check_past_access(origin, room_id, event.as_slice()).await?;
        let event = event.filter(|event| event.room_id() == room_id && event.decision.state_before.is_some());
        let event =
            event.ok_or_else(|| Error::NotFound("the state at this event is not known here".into()))?;
        if event.decision.partial {
            return Err(Error::PartialState);
        }
        let pdu_ids: Vec<_> = self.state_before(&event).await?.into_values().collect();
        let auth_chain_ids = self.auth_chain(&pdu_ids).await?;
        Ok(StateIdsAnswer {
            pdu_ids,
            auth_chain_ids,
        })
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
    ) -> Result<BulkAnswer, Error> {
        let ids = self.federation_state_ids(origin, room_id, event_id).await?;
        Ok(BulkAnswer {
            fields: json!({}),
            lists: vec![("pdus", ids.pdu_ids), ("auth_chain", ids.auth_chain_ids)],
        })
    }
}
