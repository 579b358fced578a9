//! What becomes of an invite or a knock of a local user in a room that this server is not in: it may be taken back or
//! refused, and this server hears of it although it follows nothing else of the room.
//! Spec: Server-Server API, sections 'Inviting to a room' and 'Knocking upon a room'.
//!
//! The room's rules cannot be checked from outside. So only those servers are believed that are known to have to do
//! with the invite or knock: that of whoever invited, that by whose help was knocked, and those of users named in the
//! description of the room that came with it. Whoever else says so is not heard, and the invite or knock stays.

use std::collections::BTreeSet;

use async_lock::MutexGuardArc;
use hearth_rooms::{RoomVersion, ordered};
use ruma_common::{OwnedEventId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::received::verified,
    rooms::{
        event::{Decision, StoredEvent},
        memberships::UserMembership,
    },
};

impl Homeserver {
    /// Takes in an event of a room that this server is not in, if it ends an invite or a knock of a local user. `None`
    /// if it does not.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Unreachable`] if the room was joined meanwhile.
    pub(crate) async fn take_from_outside(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        value: Value,
    ) -> Result<Option<(OwnedEventId, Value)>, Error> {
        let Some((user_id, before)) = self.waiting_outside(room_id, &value) else {
            return Ok(None);
        };
        let stripped = self.invite_state(&user_id, room_id).await?;
        let version = version_of(&stripped);
        let Some(pdu) = version.and_then(|version| verified(version, value).ok()) else {
            return Ok(None);
        };
        let mut believed: BTreeSet<_> = ordered::set(stripped.iter().filter_map(server_of));
        believed.extend(self.inviting_servers(&user_id, room_id).await?);
        let sender = pdu.sender().server_name();
        let ends = matches!(pdu.membership().as_deref(), Some("leave" | "ban"));
        if !ends || pdu.room_id() != room_id || sender != origin || !believed.contains(sender) {
            return Ok(None);
        }
        let event = StoredEvent::new(pdu, Decision::new(room_id));
        let event_id = event.event_id.clone();
        let Some(_outside) = self.stay_outside(room_id).await? else {
            return Err(Error::Unreachable("the room was just joined".into()));
        };
        if self.user_membership(&user_id, room_id).as_ref() != Some(&before) {
            return Ok(None);
        }
        let after = UserMembership {
            membership: event.content_text("membership").unwrap_or("leave").to_owned(),
            event_id: event_id.clone(),
            ..before
        };
        self.set_outside(&user_id, room_id, after, None, Some(&event))
            .await?;
        Ok(Some((event_id, json!({}))))
    }

    /// Keeps everybody here from joining the room until what is returned is dropped. `None` if somebody is in it: then
    /// the room itself says who is what.
    pub(super) async fn stay_outside(&self, room_id: &RoomId) -> Result<Option<MutexGuardArc<()>>, Error> {
        let guard = self.partial.joining(room_id).lock_arc().await;
        let resident = self.resident_room(room_id).await?;
        Ok(resident.is_none().then_some(guard))
    }

    /// The local user whose membership the event `value` sets, if they are invited or have knocked.
    fn waiting_outside(
        &self,
        room_id: &RoomId,
        value: &Value,
    ) -> Option<(ruma_common::OwnedUserId, UserMembership)> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let is_member = text("type") == Some("m.room.member");
        let user_id = UserId::parse(text("state_key").filter(|_| is_member)?).ok()?;
        let entry = self.user_membership(&user_id, room_id)?;
        let waits = matches!(entry.membership.as_str(), "invite" | "knock");
        waits.then_some((user_id, entry))
    }
}

/// The room's version, as its description says.
fn version_of(stripped: &[JsonObject]) -> Option<RoomVersion> {
    let is_create = |event: &&JsonObject| event.get("type").and_then(Value::as_str) == Some("m.room.create");
    let content = stripped.iter().find(is_create)?.get("content")?;
    match content.get("room_version") {
        Some(version) => version.as_str()?.parse().ok(),
        None => Some(RoomVersion::V1),
    }
}

/// The server of whoever sent a stripped event.
fn server_of(event: &JsonObject) -> Option<OwnedServerName> {
    let sender = UserId::parse(event.get("sender")?.as_str()?).ok()?;
    Some(sender.server_name().to_owned())
}
