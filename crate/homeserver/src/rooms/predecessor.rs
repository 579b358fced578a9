//! Which room a room replaces, and what is kept here for that one, carried over: a user's tags, mark of a direct chat and
//! push rules, and the server's aliases and place in the directory, if the room was replaced on another server.
//! Spec: Client-Server API, section 'Room upgrades', which leaves it open; Synapse does the same.
//!
//! Carrying over happens when the user comes to the replacement for the first time, and never again: what they change there
//! stays. The two rooms have to name each other, because anybody can make a room that says to replace another.
//! Who joins before the tombstone of the old room has come here carries nothing over.

use hearth_storage::WriteBatch;
use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    rooms::view::{CREATE, TOMBSTONE},
};

/// How far replacements are followed back.
const MAX_REPLACED: usize = 50;
/// The account data of a room that holds its tags.
const TAGS: &str = "m.tag";
/// The account data that holds the rooms of direct chats, by user.
const DIRECT: &str = "m.direct";

impl Homeserver {
    /// Whether the local user was joined to the room at some time, and has not forgotten it.
    pub(crate) fn has_joined(&self, user_id: &UserId, room_id: &RoomId) -> bool {
        let membership = self.user_membership(user_id, room_id);
        // Older databases do not know when.
        membership.is_some_and(|entry| entry.joined_at.is_some() || entry.membership == "join")
    }

    /// Carries over what the user, who has joined the room for the first time, keeps for its predecessor. The join
    /// stands, also if this fails.
    pub(crate) async fn carry_over(&self, user_id: &UserId, room_id: &RoomId) {
        if let Err(error) = self.carry_over_from_predecessor(user_id, room_id).await {
            tracing::warn!(%room_id, %error, "not all that was kept for a room was carried over to its replacement");
        }
    }

    async fn carry_over_from_predecessor(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), Error> {
        let Some(old) = self.predecessor(room_id).await? else {
            return Ok(());
        };
        if !self.has_joined(user_id, &old) {
            return Ok(());
        }
        self.take_names(&old, room_id).await?;
        self.copy_tags(user_id, &old, room_id).await?;
        self.copy_direct_mark(user_id, &old, room_id).await?;
        self.copy_push_rules(user_id, &old, room_id).await
    }

    /// The rooms that `room_id` says to replace, directly and by those that it replaces. They need not agree: what is
    /// done with them must be harmless.
    pub(crate) async fn replaced_rooms(&self, room_id: &RoomId) -> Result<Vec<OwnedRoomId>, Error> {
        let mut replaced = Vec::new();
        let mut next = self.named_predecessor(room_id).await?;
        while let Some(old) = next.take().filter(|_| replaced.len() < MAX_REPLACED) {
            next = self.named_predecessor(&old).await?;
            replaced.push(old);
        }
        Ok(replaced)
    }

    /// The room that `room_id` replaces, as both say.
    async fn predecessor(&self, room_id: &RoomId) -> Result<Option<OwnedRoomId>, Error> {
        let Some(old) = self.named_predecessor(room_id).await? else {
            return Ok(None);
        };
        let Some(room) = self.room(&old).await? else {
            return Ok(None);
        };
        let state = self.view(&room.snapshot(), &[TOMBSTONE]).await?;
        let agrees = state.text(TOMBSTONE, "replacement_room") == Some(room_id.as_str());
        Ok(agrees.then_some(old))
    }

    /// The room that `room_id` says to replace.
    async fn named_predecessor(&self, room_id: &RoomId) -> Result<Option<OwnedRoomId>, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(None);
        };
        let state = self.view(&room.snapshot(), &[CREATE]).await?;
        let create = state.get(CREATE.0, CREATE.1);
        let named = create.and_then(|create| create.content().get("predecessor")?.get("room_id")?.as_str());
        Ok(named.and_then(|named| RoomId::parse(named).ok()))
    }

    /// Has this server's aliases of `old`, and its place in the directory, be those of `new`.
    async fn take_names(&self, old: &RoomId, new: &RoomId) -> Result<(), Error> {
        let _directory = self.directory_lock.lock().await;
        let (aliases, mut batch) = (self.aliases_of(old).await?, WriteBatch::new());
        self.move_names(&mut batch, old, new, &aliases).await?;
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Copies the tags of `old` to `new`, unless it has its own.
    async fn copy_tags(&self, user_id: &UserId, old: &RoomId, new: &RoomId) -> Result<(), Error> {
        let Some(tags) = self.account_data(user_id, Some(old), TAGS).await? else {
            return Ok(());
        };
        if self.account_data(user_id, Some(new), TAGS).await?.is_some() {
            return Ok(());
        }
        let copy = |content: &mut JsonObject| {
            // A client may have been faster.
            if content.is_empty() {
                *content = tags;
            }
            Ok(())
        };
        self.change_account_data(user_id, Some(new), TAGS, copy).await
    }

    /// Makes `new` a direct chat with whomever `old` is one with.
    async fn copy_direct_mark(&self, user_id: &UserId, old: &RoomId, new: &RoomId) -> Result<(), Error> {
        let Some(mut direct) = self.account_data(user_id, None, DIRECT).await? else {
            return Ok(());
        };
        if !add_beside(&mut direct, old, new) {
            return Ok(());
        }
        self.change_account_data(user_id, None, DIRECT, |direct| {
            add_beside(direct, old, new);
            Ok(())
        })
        .await
    }
}

/// Adds `new` to every list of rooms that has `old`; whether there was one without it.
fn add_beside(direct: &mut JsonObject, old: &RoomId, new: &RoomId) -> bool {
    let mut added = false;
    for rooms in direct.values_mut().filter_map(Value::as_array_mut) {
        let has = |rooms: &[Value], id: &RoomId| rooms.iter().any(|room| room.as_str() == Some(id.as_str()));
        if has(rooms, old) && !has(rooms, new) {
            rooms.push(new.as_str().into());
            added = true;
        }
    }
    added
}
