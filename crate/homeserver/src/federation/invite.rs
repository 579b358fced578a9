//! Invites between servers. Spec: Server-Server API, section 'Inviting to a room'.

use std::{cmp::Reverse, sync::Arc};

use hearth_rooms::{Pdu, RoomVersion, client_event::stripped_state};
use hearth_storage::{Table, WriteBatch};
use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    federation::{
        received::{take_array, to_value, verified},
        same_id::ID_IS_TAKEN,
        uri::path,
    },
    rooms::{
        admit::Outcome,
        draft::{Draft, build_error},
        event::{Decision, StoredEvent},
        memberships::{UserMembership, invite_key, user_key},
        room::Room,
    },
    stored::to_vec,
};

/// The most events of an invite's stripped state that are kept.
const MAX_STRIPPED: usize = 50;
/// The most bytes of them.
const MAX_STRIPPED_BYTES: usize = 32 * 1024;
/// The most invites that wait for a user, because any server may send them: of all servers, of one, and of those
/// together that share no room with this one. Every `/sync` that begins anew tells them all. Of those that are over, as
/// many are kept of one server or of those together, for clients that do not know it yet.
const MAX_PENDING: usize = 1000;
const MAX_OF_SERVER: usize = 50;
const MAX_OF_STRANGERS: usize = 100;

impl Homeserver {
    /// Answers `PUT /v2/invite`: signs the invite of a local user and shows it to them. `body` has `event`,
    /// `room_version` and `invite_room_state`.
    ///
    /// # Errors
    /// [`Error::IncompatibleRoomVersion`], [`Error::BadJson`], [`Error::InvalidParam`], [`Error::Forbidden`],
    /// [`Error::NotFound`] if the user does not exist.
    pub async fn receive_invite(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        body: Value,
    ) -> Result<Value, Error> {
        let mut body = body;
        let version = body
            .get("room_version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let version: RoomVersion = version
            .parse()
            .map_err(|_| Error::IncompatibleRoomVersion(version))?;
        let event = body.get_mut("event").map(Value::take).unwrap_or_default();
        let invite = verified(version, event).map_err(Error::BadJson)?;
        let user_id = self.check_invite(origin, room_id, event_id, &invite).await?;
        self.make_room(&user_id, origin).await?;
        let invite = invite
            .signed_by(self.server_name().as_str(), self.identity.key_pair())
            .map_err(|error| Error::BadJson(error.to_string()))?;
        if self.resident_room(room_id).await?.is_none() {
            let stripped = take_stripped(&mut body, "invite_room_state", &invite);
            self.show_invite(&user_id, &invite, stripped).await?;
        }
        Ok(json!({ "event": to_value(&invite)? }))
    }

    /// Whether `invite` is what the request says; returns who is invited.
    async fn check_invite(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        invite: &Pdu,
    ) -> Result<OwnedUserId, Error> {
        if self.id_is_taken(invite).await? {
            return Err(Error::InvalidParam(ID_IS_TAKEN.into()));
        }
        let is_it = invite.event_id() == event_id
            && invite.room_id() == room_id
            && invite.membership().as_deref() == Some("invite");
        if !is_it {
            return Err(Error::InvalidParam(
                "the event is not the invite that the request speaks of".into(),
            ));
        }
        if invite.sender().server_name() != origin {
            return Err(Error::Forbidden("the sender is not one of your server".into()));
        }
        if let Some(room) = self.resident_room(room_id).await? {
            self.check_acl(origin, &room.snapshot()).await?;
        }
        let user_id = invite.state_key().and_then(|user| UserId::parse(user).ok());
        let user_id = user_id.filter(|user| self.is_local(user));
        let user_id =
            user_id.ok_or_else(|| Error::InvalidParam("the invited user is not of this server".into()))?;
        if !self.user_exists(&user_id).await? {
            return Err(Error::NotFound("no such user".into()));
        }
        self.check_invited(invite.sender(), Some(room_id), &user_id)
            .await?;
        Ok(user_id)
    }

    /// Makes room for an invite of `origin`: of the user's invites of the same server, or of strangers if it is one, that
    /// were taken back or refused, all but the last are forgotten.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if too many wait.
    async fn make_room(&self, user_id: &UserId, origin: &ServerName) -> Result<(), Error> {
        let known = self.known_servers().await?;
        let is_stranger = !known.contains(origin);
        let is_alike = |entry: &UserMembership| {
            let through = entry.through.as_deref();
            through.is_some_and(|server| server == origin || (is_stranger && !known.contains(server)))
        };
        let memberships = self.memberships(user_id);
        let waiting = memberships.values().filter(|entry| entry.membership == "invite");
        let (all, alike) = (
            waiting.clone().count(),
            waiting.clone().filter(|entry| is_alike(entry)),
        );
        let of_origin = waiting.filter(|entry| entry.through.as_deref() == Some(origin));
        let most = if is_stranger {
            MAX_OF_STRANGERS
        } else {
            MAX_OF_SERVER
        };
        if all >= MAX_PENDING || of_origin.count() >= MAX_OF_SERVER || alike.count() >= most {
            return Err(Error::Forbidden("the user has too many invites".into()));
        }
        let ended = memberships.iter().filter(|(_, entry)| {
            let is_over = matches!(entry.membership.as_str(), "leave" | "ban");
            is_over && entry.joined_at.is_none() && is_alike(entry)
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_by_key(|(_, entry)| Reverse(entry.position));
        for (room_id, _) in ended.into_iter().skip(most - 1) {
            match self.delete_membership(user_id, room_id, false).await {
                // They may be invited again meanwhile.
                Ok(()) | Err(Error::NotLeft) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn show_invite(
        &self,
        user_id: &UserId,
        invite: &Pdu,
        stripped: Vec<JsonObject>,
    ) -> Result<(), Error> {
        let event = StoredEvent::new(invite.clone(), Decision::new(invite.room_id()));
        let Some(_outside) = self.stay_outside(event.room_id()).await? else {
            return Ok(());
        };
        let (joined_at, left) = self.last_stay(user_id, event.room_id()).await?;
        let membership = UserMembership {
            membership: "invite".into(),
            event_id: event.event_id.clone(),
            position: 0,
            joined_at,
            left,
            through: Some(invite.sender().server_name().to_owned()),
            has_own_event: false,
        };
        self.set_outside(user_id, event.room_id(), membership, Some(stripped), Some(&event))
            .await
    }

    /// Sets the membership of a local user in a room that this server [stays outside](Homeserver::stay_outside) of,
    /// with the stripped state of an invite and the member event, and tells `/sync`.
    pub(super) async fn set_outside(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        mut membership: UserMembership,
        stripped: Option<Vec<JsonObject>>,
        event: Option<&StoredEvent>,
    ) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        let before = self.user_membership(user_id, room_id);
        let is_same = |before: &UserMembership| before.event_id == membership.event_id;
        let mut has_own_event = before
            .as_ref()
            .is_some_and(|before| is_same(before) && before.has_own_event);
        let replaced = before.filter(|before| !is_same(before));
        if let Some(replaced) = &replaced {
            self.delete_own_event(room_id, replaced, &mut batch).await?;
        }
        if let Some(event) = event {
            let key = event.event_id.as_bytes();
            if self.seams.store.get(Table::Events, key).await?.is_none() {
                batch.insert(Table::Events, key, event.encode()?);
                has_own_event = true;
            }
        }
        membership.has_own_event = has_own_event;
        let reservation = self.log.reserve(1);
        membership.position = reservation.first();
        batch.put(
            Table::Memberships,
            user_key(user_id, room_id),
            to_vec(&membership)?,
        );
        match stripped {
            Some(stripped) => batch.put(
                Table::Memberships,
                invite_key(user_id, room_id),
                to_vec(&stripped)?,
            ),
            None => batch.delete(Table::Memberships, invite_key(user_id, room_id)),
        };
        let (user_id, room_id) = (user_id.to_owned(), room_id.to_owned());
        let entry = LogEntry::Invite {
            user_id: user_id.clone(),
            room_id: room_id.clone(),
        };
        let shared = self.shared();
        let publish = move || {
            if let Some(shared) = shared {
                if let Some(replaced) = replaced {
                    shared.events.forget(&replaced.event_id);
                }
                shared.user_rooms.publish(&user_id, &room_id, Some(membership));
            }
        };
        reservation.commit(batch, vec![entry], publish).await.map(drop)
    }

    /// Deletes the event of a membership from outside, with `batch`, if nothing else names it: nothing is known here of
    /// its room, or it came when nobody here was in the room any more. Once that is durable, the event is to be
    /// [forgotten](crate::rooms::event::EventCache::forget).
    pub(crate) async fn delete_own_event(
        &self,
        room_id: &RoomId,
        membership: &UserMembership,
        batch: &mut WriteBatch,
    ) -> Result<(), Error> {
        if (membership.has_own_event || self.room(room_id).await?.is_none())
            && let Some(event) = self.stored_event(&membership.event_id).await?
            && event.decision == Decision::new(room_id)
        {
            batch.delete(Table::Events, membership.event_id.as_bytes());
        }
        Ok(())
    }

    /// Invites a user of another server: their server signs the invite, then it becomes part of the room.
    pub(crate) async fn invite_remote(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        let room = self.known_room(room_id).await?;
        self.whole(&room).await?;
        let (invite, stripped) = self.build_invite(&room, sender, target, content).await?;
        let body = json!({
            "room_version": invite.version().as_str(),
            "event": to_value(&invite)?,
            "invite_room_state": stripped,
        });
        let uri = path("v2/invite", &[room_id.as_str(), invite.event_id().as_str()], "");
        let mut answer = self
            .request(target.server_name(), Method::PUT, &uri, Some(body))
            .await?;
        let signed = answer.get_mut("event").map(Value::take).unwrap_or_default();
        let signed = verified(invite.version(), signed).map_err(Error::Unreachable)?;
        if !signed.is_same_event(&invite) {
            return Err(Error::Unreachable(
                "the other server signed something else".into(),
            ));
        }
        let mut change = self.change(&room).await;
        let others = change.others(self.server_name()).await?;
        match change.admit(signed, None, others).await? {
            Outcome::Accepted => change.commit().await?,
            Outcome::Rejected(reason) | Outcome::SoftFailed(reason) => return Err(Error::Forbidden(reason)),
        };
        Ok(invite.event_id().to_owned())
    }

    /// The invite, signed by this server alone, and what the invited user is shown of the room.
    async fn build_invite(
        &self,
        room: &Arc<Room>,
        sender: &UserId,
        target: &UserId,
        content: JsonObject,
    ) -> Result<(Pdu, Vec<JsonObject>), Error> {
        let change = self.change(room).await;
        let builder = change.lay_out(Draft::member(sender, target, content)).await?;
        let server_name = self.server_name().as_str();
        let invite = builder.build(change.snapshot.version(), server_name, self.identity.key_pair());
        let invite = invite.map_err(build_error)?;
        change
            .authorise(&invite)
            .await?
            .map_err(|rejection| Error::Forbidden(rejection.0))?;
        let stripped = change.stripped_for(sender, target).await?;
        Ok((invite, stripped))
    }
}

/// The stripped state `field` of `body`, so far as it is well-formed and not too much, and `member` last.
pub(super) fn take_stripped(body: &mut Value, field: &str, member: &Pdu) -> Vec<JsonObject> {
    let mut left = MAX_STRIPPED_BYTES;
    let mut fits = |event: &JsonObject| {
        let rest = to_vec(event).ok().and_then(|json| left.checked_sub(json.len()));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let events = take_array(body, field, MAX_STRIPPED).into_iter();
    let events = events.filter_map(stripped_form).filter(|event| fits(event));
    let mut stripped: Vec<_> = events.collect();
    stripped.extend(stripped_form(stripped_state(member)));
    stripped
}

/// The four fields of stripped state, if `value` has them.
fn stripped_form(value: Value) -> Option<JsonObject> {
    let Value::Object(mut event) = value else {
        return None;
    };
    event.retain(|field, _| matches!(field.as_str(), "type" | "state_key" | "sender" | "content"));
    let is_text = |field: &str| event.get(field).is_some_and(Value::is_string);
    let complete = is_text("type") && is_text("state_key") && is_text("sender");
    (complete && event.get("content").is_some_and(Value::is_object)).then_some(event)
}
