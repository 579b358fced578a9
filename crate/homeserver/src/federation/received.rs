//! The first look at an event of another server: format, signatures, hash.
//! Spec: Server-Server API, section 'Checks performed on receipt of a PDU', steps 1 to 3.

use std::{borrow::Cow, sync::Arc, time::Duration};

use hearth_rooms::{
    Pdu, RoomVersion,
    signatures::{Verification, verify},
};
use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use serde_json::Value;

use crate::{
    Error, Homeserver,
    identity::{KEY_VERSION, public_key},
    rooms::{event::StoredEvent, room::Snapshot},
};

/// How many events are verified before others get their turn.
const SLICE: usize = 20;

/// The event in `value`, if it is well-formed and signed by whom it must be. If its content is not what was
/// signed, what remains is its redacted form.
pub(crate) fn verified(version: RoomVersion, value: Value) -> Result<Pdu, String> {
    signed(Pdu::from_value(version, value).map_err(|error| error.to_string())?)
}

/// `pdu`, if it is signed by whom it must be; its redacted form, if its content is not what was signed.
pub(crate) fn signed(pdu: Pdu) -> Result<Pdu, String> {
    match verify(&pdu, known_key) {
        Verification::Valid => Ok(pdu),
        Verification::HashMismatch(redacted) => Ok(redacted),
        Verification::Invalid(reason) => Err(reason),
    }
}

/// The key of a server is its name, and it has only one. It never expires: whoever had another key would be
/// another server. (Keys that servers publish for themselves would be `VerifyKey::published`.)
pub(crate) fn known_key(server: &ServerName, key_id: &str) -> Option<[u8; 32]> {
    let version = key_id.strip_prefix("ed25519:")?;
    (version == KEY_VERSION).then(|| public_key(server.as_str()))?
}

impl Homeserver {
    /// Those of `values` that are events of `room_id` in order and signed. Gives others their turn in between.
    pub(crate) async fn verified_all(
        &self,
        version: RoomVersion,
        room_id: &RoomId,
        values: Vec<Value>,
    ) -> Vec<Pdu> {
        let mut pdus = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            if index % SLICE == SLICE - 1 {
                self.seams.clock.sleep(Duration::ZERO).await;
            }
            match verified(version, value) {
                Ok(pdu) if pdu.room_id() == room_id => pdus.push(pdu),
                Ok(pdu) => tracing::warn!(event_id = %pdu.event_id(), "an event of another room was dropped"),
                Err(reason) => tracing::warn!(reason, "an event was dropped"),
            }
        }
        pdus
    }

    /// The present state of a room that both this server and `origin` are in.
    pub(crate) async fn shared_room(&self, origin: &ServerName, room_id: &RoomId) -> Result<Snapshot, Error> {
        let room = self.resident_room(room_id).await?;
        let room = room.ok_or_else(|| not_known(room_id))?;
        let snapshot = room.snapshot();
        self.check_acl(origin, &snapshot).await?;
        match self.servers_in_room(&snapshot).await?.contains(origin) {
            true => Ok(Snapshot::clone(&snapshot)),
            false => Err(Error::Forbidden("your server is not in this room".into())),
        }
    }

    /// Whether `origin` is in the room, as far as is known here, and so may ask about the past of `events`. If not, it may
    /// if it was when one of them happened, or was removed by one: a server that has to hear that it was removed may
    /// have missed what led to that. Those who stayed when this server left may ask what it knew: perhaps nobody
    /// else does.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Forbidden`] if it may not.
    pub(crate) async fn check_past_access(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        events: &[Arc<StoredEvent>],
    ) -> Result<bool, Error> {
        let room = self.room(room_id).await?.ok_or_else(|| not_known(room_id))?;
        let snapshot = room.snapshot();
        self.check_acl(origin, &snapshot).await?;
        if self.servers_in_room(&snapshot).await?.contains(origin) {
            return Ok(true);
        }
        for event in events.iter().filter(|event| event.room_id() == room_id) {
            if self.was_joined(origin, event).await? || self.was_in_room_until(origin, event).await? {
                return Ok(false);
            }
        }
        Err(match snapshot.members().local {
            0 => not_known(room_id),
            _ => Error::Forbidden("your server is not in this room".into()),
        })
    }

    /// Whether `origin` may have `event`: all state of its time in the room, and of what was said what it may see. Who is
    /// not in the room any more gets no messages of after that, whatever the history visibility says: nobody there can
    /// see them.
    pub(crate) async fn may_have(
        &self,
        origin: &ServerName,
        is_in_room: bool,
        event: &StoredEvent,
    ) -> Result<bool, Error> {
        let is_state = event.state_key().is_some();
        let was_there = is_in_room
            || (is_state && self.was_in_room_until(origin, event).await?)
            || self.was_joined(origin, event).await?;
        Ok(was_there && (is_state || self.server_may_see(origin, event).await?))
    }

    /// An event as other servers get it: without what was said, if its sender asked for that to be erased. State and
    /// redactions stay whole, because the room rests on them.
    pub(crate) fn given_out<'a>(&self, event: &'a StoredEvent) -> Result<Cow<'a, Pdu>, Error> {
        let is_said = event.state_key().is_none() && event.kind() != "m.room.redaction";
        if !is_said || self.standing(event.sender()).erased_at.is_none() {
            return Ok(Cow::Borrowed(&event.pdu));
        }
        let redacted = event.pdu.redacted();
        redacted
            .map(Cow::Owned)
            .map_err(|error| Error::Damaged(error.to_string()))
    }

    /// The events as another server may see them: state whole, others redacted where it may not. Where it is not known
    /// here whether it may, because nobody here knows who was in the room then, they are left out: whoever takes a
    /// redacted event never takes the whole one any more. So is all that came when it was not in the room any more.
    pub(crate) async fn as_seen_by(
        &self,
        origin: &ServerName,
        is_in_room: bool,
        events: &[Arc<StoredEvent>],
    ) -> Result<Vec<Value>, Error> {
        let mut pdus = Vec::with_capacity(events.len());
        for event in events {
            if self.may_have(origin, is_in_room, event).await? {
                pdus.push(to_value(&*self.given_out(event)?)?);
            } else if event.decision.state_before.is_some()
                && (is_in_room || self.was_in_room_until(origin, event).await?)
            {
                let redacted = event
                    .pdu
                    .redacted()
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                pdus.push(to_value(&redacted)?);
            }
        }
        Ok(pdus)
    }
}

fn not_known(room_id: &RoomId) -> Error {
    Error::NotFound(format!("the room {room_id} is not known here"))
}

/// A PDU as JSON.
pub(crate) fn to_value(pdu: &Pdu) -> Result<Value, Error> {
    serde_json::from_str(pdu.json()).map_err(|error| Error::Damaged(error.to_string()))
}

/// The array `field` of `body`, at most `limit` long.
pub(crate) fn take_array(body: &mut Value, field: &str, limit: usize) -> Vec<Value> {
    let Some(Value::Array(mut values)) = body.get_mut(field).map(Value::take) else {
        return Vec::new();
    };
    values.truncate(limit);
    values
}

/// The event ids in the array `field` of `body`, at most `limit`.
pub(crate) fn event_ids(body: &Value, field: &str, limit: usize) -> Vec<OwnedEventId> {
    let values = body.get(field).and_then(Value::as_array).into_iter().flatten();
    values
        .filter_map(|id| EventId::parse(id.as_str()?).ok())
        .take(limit)
        .collect()
}
