//! The state of a room, now and at an event. Spec: Client-Server API, section 'Getting events for a room'.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma_common::{OwnedEventId, RoomId, UserId};

use crate::{
    Error, Homeserver,
    ordered::map,
    rooms::{
        event::StoredEvent,
        room::Room,
        tree::{Nodes, empty_root},
        view::{HISTORY_VISIBILITY, MEMBER, member},
    },
};

/// State by event type and state key.
pub type StateIds = BTreeMap<(String, String), OwnedEventId>;

impl Homeserver {
    /// The state that `user_id` may see: the present one if they are joined (or anyone may look), the one at
    /// their leaving if they have left.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they were never in the room, [`Error::PartialState`] if its members are not known.
    pub async fn room_state(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let (room, left) = self.readable_room(user_id, room_id).await?;
        self.whole(&room).await?;
        match left {
            None => self.whole_state(&room.snapshot().record.state, |_| true).await,
            Some(event) => {
                let ids: Vec<_> = self.state_after(&event).await?.into_values().collect();
                self.stored_events(&ids).await
            }
        }
    }

    /// The root of the last state of a room that `user_id` may know, if they may know any.
    pub(crate) async fn last_state(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<String>, Error> {
        match self.readable_room(user_id, room_id).await {
            Ok((room, None)) => Ok(Some(room.snapshot().record.state.clone())),
            Ok((_, Some(leaving))) => Ok(leaving.decision.state_before.clone()),
            Err(Error::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
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
            None => {
                let state = self.view(&room.snapshot(), &[(kind, state_key)]).await?;
                if kind != MEMBER || state.get(kind, state_key).is_some() {
                    return state.get(kind, state_key).cloned().ok_or_else(not_found);
                }
                self.whole(&room).await?;
                let state = self.view(&room.snapshot(), &[(kind, state_key)]).await?;
                state.get(kind, state_key).cloned().ok_or_else(not_found)
            }
            Some(event) if event.kind() == kind && event.state_key() == Some(state_key) => Ok(event),
            Some(event) => {
                let root = event.decision.state_before.as_deref().ok_or_else(not_found)?;
                let state = self.view_at(root, &[(kind, state_key)]).await?;
                state.get(kind, state_key).cloned().ok_or_else(not_found)
            }
        }
    }

    /// The member events of [`Homeserver::room_state`].
    ///
    /// # Errors
    /// As there.
    pub async fn room_members(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let (room, _) = self.readable_room(user_id, room_id).await?;
        self.whole(&room).await?;
        self.known_members(user_id, room_id).await
    }

    /// Those of [`Homeserver::room_members`] that are known: of a room that was joined without its members, the
    /// others come later.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn known_members(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let (room, left) = self.readable_room(user_id, room_id).await?;
        match left {
            None => self.members_at(&room.snapshot().record.state).await,
            Some(event) => self.members_after(&event).await,
        }
    }

    /// The events of the state `root` whose types are `wanted`.
    pub(crate) async fn whole_state(
        &self,
        root: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let state = self.tree_state(root, &Nodes::default()).await?;
        let wanted = state
            .into_iter()
            .filter(|((kind, _), _)| wanted(&kind.to_string()));
        let ids: Vec<_> = wanted.map(|(_, event_id)| event_id).collect();
        self.stored_events(&ids).await
    }

    /// The events of the state `root` whose types are `wanted`, but of its members (`all` in number, if that is
    /// known) only `users`. Costs as much as it returns.
    pub(crate) async fn state_with_members(
        &self,
        root: &str,
        all: Option<u64>,
        users: &BTreeSet<String>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let others = self.tree_without_members(root, all).await?;
        let others = others.into_iter().filter(|entry| wanted(&entry.event_type));
        let mut ids: Vec<_> = others.map(|entry| entry.event_id).collect();
        if wanted(MEMBER) {
            let keys: Vec<_> = users.iter().map(|user| (MEMBER, user.as_str())).collect();
            let members = self.tree_get(root, &keys, &Nodes::default()).await?;
            ids.extend(members.into_iter().flatten());
        }
        self.stored_events(&ids).await
    }

    /// The member events of the state `root`.
    pub(crate) async fn members_at(&self, root: &str) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let members = self.tree_of_type(root, MEMBER).await?;
        let ids: Vec<_> = members.into_iter().map(|(_, event_id)| event_id).collect();
        self.stored_events(&ids).await
    }

    /// The member events of the state just after `event`.
    pub(crate) async fn members_after(
        &self,
        event: &Arc<StoredEvent>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut members = match &event.decision.state_before {
            Some(root) => self.members_at(root).await?,
            None => Vec::new(),
        };
        if event.kind() == MEMBER {
            put_after(&mut members, event);
        }
        Ok(members)
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
        let owned = |((kind, key), event_id): ((_, _), _)| ((ToString::to_string(&kind), key), event_id);
        Ok(map(state.into_iter().map(owned)))
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
        let keys = [HISTORY_VISIBILITY, member(user_id)];
        let state = self.view(&room.snapshot(), &keys).await?;
        let anyone = state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable");
        if anyone || state.membership(user_id) == "join" {
            return Ok((room, None));
        }
        let own = self.user_membership(user_id, room_id).ok_or_else(forbidden)?;
        let left = self.leaving(&own).await?.ok_or_else(forbidden)?;
        let event = self.stored_event(&left.event_id).await?;
        Ok((room, Some(event.ok_or_else(forbidden)?)))
    }
}

/// Makes `state`, which was before `event`, the state after it.
pub(crate) fn put_after(state: &mut Vec<Arc<StoredEvent>>, event: &Arc<StoredEvent>) {
    if event.state_key().is_some() && !event.decision.rejected {
        state.retain(|other| other.kind() != event.kind() || other.state_key() != event.state_key());
        state.push(event.clone());
    }
}
