//! The state of a room, now and at an event. Spec: Client-Server API, section 'Getting events for a room'.

use std::{collections::BTreeMap, sync::Arc};

use ruma_common::{OwnedEventId, RoomId, UserId};

use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        room::Room,
        tree::{Nodes, empty_root},
    },
};

/// State by event type and state key.
pub type StateIds = BTreeMap<(String, String), OwnedEventId>;

impl Homeserver {
    /// The state that `user_id` may see: the present one if they are joined (or anyone may look), the one at
    /// their leaving if they have left.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they were never in the room.
    pub async fn room_state(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let (room, left) = self.readable_room(user_id, room_id).await?;
        match left {
            None => Ok(room.snapshot().state.iter().cloned().collect()),
            Some(event) => {
                let ids: Vec<_> = self.state_after(&event).await?.into_values().collect();
                self.stored_events(&ids).await
            }
        }
    }

    /// One event of [`Homeserver::room_state`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] as there, [`Error::NotFound`] if the state has no such event.
    pub async fn state_event(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        kind: &str,
        state_key: &str,
    ) -> Result<Arc<StoredEvent>, Error> {
        let not_found = || Error::NotFound("the room has no such state".into());
        let (room, left) = self.readable_room(user_id, room_id).await?;
        match left {
            None => room
                .snapshot()
                .state
                .get(kind, state_key)
                .cloned()
                .ok_or_else(not_found),
            Some(event) => {
                let state = self.state_after(&event).await?;
                let event_id = state
                    .get(&(kind.to_owned(), state_key.to_owned()))
                    .ok_or_else(not_found)?;
                self.stored_event(event_id).await?.ok_or_else(not_found)
            }
        }
    }

    /// The state just before `event`; empty if it is not known (outliers).
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn state_before(&self, event: &StoredEvent) -> Result<StateIds, Error> {
        let Some(root) = &event.decision.state_before else {
            return Ok(StateIds::new());
        };
        let state = self.tree_state(root, &Nodes::default()).await?;
        Ok(state
            .into_iter()
            .map(|((kind, key), event_id)| ((kind.to_string(), key), event_id))
            .collect())
    }

    /// The state just after `event`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn state_after(&self, event: &StoredEvent) -> Result<StateIds, Error> {
        let mut state = self.state_before(event).await?;
        if let Some(state_key) = event.state_key().filter(|_| !event.decision.rejected) {
            state.insert(
                (event.kind().to_owned(), state_key.to_owned()),
                event.event_id.clone(),
            );
        }
        Ok(state)
    }

    /// Where the state just before `first` differs from the state just before `second`: what was there before
    /// `second`. Costs as much as they differ.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn state_changes(&self, first: &StoredEvent, second: &StoredEvent) -> Result<StateIds, Error> {
        let empty = empty_root();
        let root = |event: &StoredEvent| {
            event
                .decision
                .state_before
                .clone()
                .unwrap_or_else(|| empty.clone())
        };
        let differences = self
            .tree_difference(&root(first), &root(second), &Nodes::default())
            .await?;
        let present = differences
            .into_iter()
            .filter_map(|entry| Some(((entry.event_type, entry.state_key), entry.after?)));
        Ok(present.collect())
    }

    /// The room, if the user may read its state; with the event of their leaving, if that is the last they may
    /// read it at.
    async fn readable_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<(Arc<Room>, Option<Arc<StoredEvent>>), Error> {
        let forbidden = || Error::Forbidden("you are not in this room".into());
        let room = self.room(room_id).await?.ok_or_else(forbidden)?;
        let snapshot = room.snapshot();
        let visibility = snapshot.state.get("m.room.history_visibility", "");
        let anyone =
            visibility.and_then(|event| event.content_text("history_visibility")) == Some("world_readable");
        if anyone || snapshot.state.membership(user_id) == "join" {
            return Ok((room, None));
        }
        let left = self
            .user_membership(user_id, room_id)
            .filter(|entry| entry.joined_at.is_some());
        let left = left.filter(|entry| matches!(entry.membership.as_str(), "leave" | "ban"));
        let event = self.stored_event(&left.ok_or_else(forbidden)?.event_id).await?;
        Ok((room, Some(event.ok_or_else(forbidden)?)))
    }
}
