//! Sending message and state events. Spec: Client-Server API, section 'Sending events to a room'.

use std::sync::Arc;

use hearth_storage::BoxFuture;
use ruma_common::{DeviceId, EventId, OwnedEventId, RoomId, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    Error, Homeserver, JsonObject,
    federation::member_event::VOUCHER,
    rooms::{
        change::Change,
        draft::Draft,
        event::StoredEvent,
        room::Room,
        view::{CREATE, MEMBER, POWER_LEVELS, SERVER_ACL, TOMBSTONE},
    },
};

/// The types of events that nobody redacts: without their content a room would be another, or let no server in.
pub(super) const KEPT: [&str; 2] = [CREATE.0, SERVER_ACL.0];

impl Homeserver {
    /// Sends a message event. The same `txn_id` from the same device to the same room and type, or for the same event that
    /// is redacted, gives the same event id again, also after a restart, and sends nothing.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room or may not send it, [`Error::TooLarge`] if the event
    /// is larger than 64 KiB, [`Error::NotFound`] if the room is not known here.
    pub async fn send_message(
        &self,
        sender: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        kind: &str,
        txn_id: &str,
        content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        self.check_guest(sender, room_id).await?;
        let mut draft = Draft::message(sender, kind, content);
        draft.redacts = redacts(kind, &mut draft.content);
        let path = draft.redacts.as_deref().map_or(kind, EventId::as_str);
        let key = transaction_key(sender, device_id, room_id, path, txn_id);
        draft.transaction = Some((device_id.to_owned(), txn_id.to_owned()));
        let room = self.known_room(room_id).await?;
        self.note_active(sender);
        match self.send_once(&room, key.clone(), draft).await {
            Ok(event_id) => Ok(event_id),
            // Whatever refuses it now, it stands if it was sent before. Only here does a lone send read the store.
            Err(error) => self.sent_before(&[key]).await?.pop().flatten().ok_or(error),
        }
    }

    /// Sets the state `(kind, state_key)`. State that is set to what it already is stays as it is, and the id of
    /// the event that set it is returned.
    ///
    /// # Errors
    /// As [`Homeserver::send_message`]; [`Error::BadJson`] if an `m.room.member` or an alias is malformed,
    /// [`Error::InvalidParam`] if the room would replace itself.
    pub async fn send_state(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        kind: &str,
        state_key: &str,
        content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        self.check_guest(sender, room_id).await?;
        if kind == "m.room.member" {
            return self.send_member(sender, room_id, state_key, content).await;
        }
        if kind == CREATE.0 {
            return Err(Error::BadJson("a room is created once".into()));
        }
        if (kind, state_key) == SERVER_ACL {
            self.check_own_acl(&content)?;
        }
        if (kind, state_key) == TOMBSTONE && content.get("replacement_room") == Some(&room_id.as_str().into())
        {
            return Err(Error::InvalidParam("a room cannot replace itself".into()));
        }
        if kind == "m.room.canonical_alias" {
            self.check_canonical_alias(room_id, &content).await?;
        }
        self.send_draft(room_id, Draft::state(sender, kind, state_key, content))
            .await
    }

    /// Sends one event. State that is already so stays as it is.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(crate) fn send_draft<'a>(
        &'a self,
        room_id: &'a RoomId,
        draft: Draft,
    ) -> BoxFuture<'a, Result<OwnedEventId, Error>> {
        Box::pin(async move {
            let room = self.known_room(room_id).await?;
            if draft.kind == MEMBER && draft.state_key.as_deref() != Some(draft.sender.as_str()) {
                // Whether it is allowed depends on what the other is now.
                self.whole(&room).await?;
                self.check_wanted(room_id, &draft).await?;
            }
            let mut change = self.change(&room).await;
            check_from(&change, &draft).await?;
            if let Some(event_id) = unchanged(&change, &draft).await? {
                return Ok(event_id);
            }
            let event_id = change.send(draft).await?;
            change.commit().await?;
            Ok(event_id)
        })
    }

    /// Refuses the invite of a local user who does not want it.
    async fn check_wanted(&self, room_id: &RoomId, draft: &Draft) -> Result<(), Error> {
        let is_invite = draft.content.get("membership").and_then(Value::as_str) == Some("invite");
        let target = draft.state_key.as_deref().and_then(|key| UserId::parse(key).ok());
        match target.filter(|target| is_invite && self.is_local(target)) {
            Some(target) => self.check_invited(&draft.sender, Some(room_id), &target).await,
            None => Ok(()),
        }
    }

    /// A membership that is set as state: the same as through its own endpoint. Who vouches for a join is for servers to
    /// say: what a client says of it may be left of an earlier join, and would want the signature of another server.
    async fn send_member(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        state_key: &str,
        mut content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        let target = UserId::parse(state_key)
            .map_err(|_| Error::InvalidParam("the state key of a membership is a user id".into()))?;
        content.remove(VOUCHER);
        match content.get("membership").and_then(Value::as_str) {
            None => return Err(Error::BadJson("a membership event has a `membership`".into())),
            Some("invite") if !self.is_local(&target) => {
                return self.invite_remote(sender, room_id, &target, content).await;
            }
            Some("join") if target == sender && !self.is_joined(room_id, sender).await? => {
                self.enter(sender, room_id, Vec::new(), content).await?;
                let own = self.user_membership(sender, room_id);
                return own
                    .map(|own| own.event_id)
                    .ok_or_else(|| Error::NotFound("the join is gone again".into()));
            }
            Some(_) => (),
        }
        self.send_draft(room_id, Draft::member(sender, &target, content))
            .await
    }

    /// The room, if it is held here.
    pub(crate) async fn known_room(&self, room_id: &RoomId) -> Result<Arc<Room>, Error> {
        let room = self.room(room_id).await?;
        room.ok_or_else(|| Error::NotFound(format!("the room {room_id} is not known here")))
    }

    /// Whether the sender may redact what `draft` redacts. Other servers let users of one server redact each
    /// other's events: who may is this server's to say. Like Synapse, it keeps what a room cannot do without.
    pub(super) async fn check_redaction(&self, change: &Change<'_>, draft: &Draft) -> Result<(), Error> {
        let Some(target) = &draft.redacts else {
            return Ok(());
        };
        let target = change.known_events(std::slice::from_ref(target)).await?.pop();
        if target
            .as_ref()
            .is_some_and(|target| KEPT.contains(&target.kind()))
        {
            return Err(Error::Forbidden("this event cannot be redacted".into()));
        }
        let is_own = target.is_none_or(|target| target.sender() == draft.sender);
        let state = change.view(&[CREATE, POWER_LEVELS]).await?;
        match is_own || state.power_level(&draft.sender) >= state.power_field("redact", 50) {
            true => Ok(()),
            false => Err(Error::Forbidden("you may not redact this event".into())),
        }
    }
}

/// Checks that `draft` replaces one of the memberships that it is to replace.
async fn check_from(change: &Change<'_>, draft: &Draft) -> Result<(), Error> {
    let (Some(from), Some(target)) = (draft.from, draft.state_key.as_deref()) else {
        return Ok(());
    };
    let state = change.view(&[(MEMBER, target)]).await?;
    let membership = state.text((MEMBER, target), "membership").unwrap_or("leave");
    match from.contains(&membership) {
        true => Ok(()),
        false => Err(Error::Forbidden(format!(
            "the membership of {target} is {membership:?}"
        ))),
    }
}

/// The event that already says what `draft` would, from the same sender.
async fn unchanged(change: &Change<'_>, draft: &Draft) -> Result<Option<OwnedEventId>, Error> {
    let Some(state_key) = draft.state_key.as_deref() else {
        return Ok(None);
    };
    let state = change.view(&[(&draft.kind, state_key)]).await?;
    let same =
        |event: &&Arc<StoredEvent>| event.sender() == draft.sender && *event.content() == draft.content;
    Ok(state.iter().find(same).map(|event| event.event_id.clone()))
}

/// What a redaction redacts, taken out of its content: the room version says where it belongs.
fn redacts(kind: &str, content: &mut JsonObject) -> Option<OwnedEventId> {
    if kind != "m.room.redaction" {
        return None;
    }
    EventId::parse(content.remove("redacts")?.as_str()?).ok()
}

/// The key of what a transaction id has sent: a hash, because the parts have no greatest length.
pub(crate) fn transaction_key(
    user_id: &UserId,
    device_id: &DeviceId,
    room_id: &RoomId,
    path: &str,
    txn_id: &str,
) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [
        user_id.as_str(),
        device_id.as_str(),
        room_id.as_str(),
        path,
        txn_id,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    [b"txn\0".as_slice(), &hash.finalize()].concat()
}
