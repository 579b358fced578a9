//! Filling in what came before an event. Spec: Server-Server API, section 'Backfilling and retrieving missing
//! events'.

use std::sync::Arc;

use hearth_rooms::{
    Pdu,
    auth_check::{check_auth_events, needed_events},
    dag::{ancestors, topological_order},
};
use http::Method;
use ruma_common::{EventId, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    federation::{
        fetch_state::{Held, Purpose},
        missing_events::MAX_EVENTS,
        received::take_array,
        request::RequestError,
        uri::path,
    },
    rooms::{
        append::joined_server,
        event::{Decision, StoredEvent},
        room::Room,
    },
};

/// The most states that are fetched to close one gap.
const MAX_STATES: usize = 2;
/// The most local members whose depth is looked at: those who joined first.
const MAX_MEMBERS: usize = 20;

impl Homeserver {
    /// Sees to it that `pdu`, whose auth events were asked for, can be taken in: that its prev events are known with
    /// their state. What is missing is asked of `origin`. If the gap is too wide to close, the state before the
    /// event is fetched instead, and its root returned. What the events in between rest on is asked only of who is in
    /// the room.
    pub(crate) async fn fill_past(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdu: &Pdu,
    ) -> Result<Option<String>, Error> {
        if self.past_is_known(pdu).await? {
            return Ok(None);
        }
        let is_member = self.has_server(&room.room_id, origin).await?;
        let mut states = 0;
        for earlier in self.fetch_missing(origin, room, pdu).await? {
            let begins_room = earlier.prev_events().is_empty();
            if begins_room || self.is_settled(earlier.event_id()).await? {
                continue;
            }
            if is_member {
                self.learn_auth_events(origin, room, &earlier).await?;
            }
            let state_before = match self.past_is_known(&earlier).await? {
                true => None,
                false if states == MAX_STATES => continue,
                false => {
                    states += 1;
                    Some(
                        self.fetch_state(origin, room, earlier.event_id(), Purpose::Past, Held::Perhaps)
                            .await?
                            .root,
                    )
                }
            };
            // What the rules refuse is stored as refused; that is all that its successors need.
            let _ = self.admit_one(room, earlier, state_before).await?;
        }
        match self.past_is_known(pdu).await? {
            true => Ok(None),
            false => Ok(Some(
                self.fetch_state(origin, room, pdu.event_id(), Purpose::Past, Held::Perhaps)
                    .await?
                    .root,
            )),
        }
    }

    /// Sees to it that the auth events of `pdu` are known, if `origin` gives them: of a room that was joined
    /// without its members, the sender's membership may be new here.
    pub(crate) async fn learn_auth_events(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdu: &Pdu,
    ) -> Result<(), Error> {
        let needed = needed_events(pdu);
        if self.stored_events(&needed).await?.len() == needed.len() {
            return Ok(());
        }
        match self.fetch_auth_chain(origin, room, pdu).await {
            Err(error @ (Error::Store(_) | Error::Damaged(_))) => Err(error),
            Err(error) => {
                tracing::info!(%origin, %error, "what an event rests on was not given");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether the auth events of `pdu` are known and allow it, and it or one of them is a join of a user of its
    /// author's server.
    pub(crate) async fn rests_on_join(&self, pdu: &Pdu) -> Result<bool, Error> {
        let server = pdu.sender().server_name();
        let known = self.stored_events(&needed_events(pdu)).await?;
        let listed = |id: &EventId| Some(known.iter().find(|event| event.event_id == id)?.pdu.clone());
        if check_auth_events(pdu, listed).is_err() {
            return Ok(false);
        }
        let itself = StoredEvent::new(pdu.clone(), Decision::new(pdu.room_id()));
        let mut joins = known.iter().map(|event| &**event).chain([&itself]);
        Ok(joins.any(|event| joined_server(event).as_deref() == Some(server)))
    }

    /// Whether all prev events of `pdu` are known with their state, and all its auth events.
    pub(crate) async fn past_is_known(&self, pdu: &Pdu) -> Result<bool, Error> {
        let prev = self.stored_events(pdu.prev_events()).await?;
        let with_state = prev
            .iter()
            .filter(|event| event.decision.state_before.is_some() && event.room_id() == pdu.room_id())
            .count();
        let needed = needed_events(pdu);
        Ok(with_state == pdu.prev_events().len() && self.stored_events(&needed).await?.len() == needed.len())
    }

    /// The least depth at which a local member stands: what lies deeper in the past is no gap, but history.
    pub(crate) async fn joined_depth(&self, room_id: &RoomId) -> Result<u64, Error> {
        let joined = self.first_memberships(room_id, MAX_MEMBERS);
        let joined = self.stored_events(&joined).await?;
        Ok(joined.iter().map(|event| event.depth()).min().unwrap_or_default())
    }

    /// The events between what is held here and `pdu`, oldest first.
    async fn fetch_missing(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdu: &Pdu,
    ) -> Result<Vec<Pdu>, Error> {
        let uri = path("v1/get_missing_events", &[room.room_id.as_str()], "");
        let body = json!({
            "latest_events": [pdu.event_id()],
            "earliest_events": room.snapshot().record.extremities,
            "limit": MAX_EVENTS,
            "min_depth": self.joined_depth(&room.room_id).await?,
        });
        let mut answer = match self.request(origin, Method::POST, &uri, Some(body)).await {
            Ok(answer) => answer,
            Err(error @ RequestError::Federation(_)) => return Err(error.into()),
            Err(error) => {
                tracing::info!(%origin, %error, "missing events were not given");
                Value::Null
            }
        };
        let values = take_array(&mut answer, "events", MAX_EVENTS);
        let pdus = self.verified_all(pdu.version(), &room.room_id, values).await;
        Ok(topological_order(ancestors(pdu.prev_events(), pdus)))
    }
}
