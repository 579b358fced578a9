//! Membership events that one server lays out and another completes: joins and leaves.
//! Spec: Server-Server API, sections 'Joining rooms' and 'Leaving Rooms'.

use std::sync::Arc;

use hearth_rooms::{Pdu, builder::sign_template};
use ruma_common::{EventId, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::{received::signed, same_id::ID_IS_TAKEN},
    rooms::{
        admit::Outcome,
        draft::{Draft, build_error},
        restricted::Voucher,
        room::{Room, Snapshot},
    },
};

/// A membership event laid out by another server, once its parts are seen to be what was asked for.
pub(crate) struct Template {
    /// The room version.
    pub version: hearth_rooms::RoomVersion,
    /// The event, not hashed and not signed.
    pub event: JsonObject,
}

impl Homeserver {
    /// The room, for a server that wants to change the membership of `user_id` in it.
    pub(crate) async fn room_for_member(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Arc<Room>, Error> {
        if user_id.server_name() != origin {
            return Err(Error::Forbidden("the user is not one of your server".into()));
        }
        let room = self.resident_room(room_id).await?;
        let room = room.ok_or_else(|| Error::NotFound(format!("the room {room_id} is not known here")))?;
        self.check_acl(origin, &room.snapshot()).await?;
        match room.snapshot().is_partial() {
            true => Err(Error::PartialState),
            false => Ok(room),
        }
    }

    /// Lays out a membership event, if the room's rules would allow it.
    pub(crate) async fn lay_out_member(
        &self,
        room: &Arc<Room>,
        user_id: &UserId,
        content: JsonObject,
    ) -> Result<Value, Error> {
        let change = self.change(room).await;
        let version = change.snapshot.version();
        let builder = change.lay_out(Draft::member(user_id, user_id, content)).await?;
        let event = builder.template(version).map_err(build_error)?;
        let trial = sign_template(
            version,
            event.clone(),
            self.server_name().as_str(),
            self.identity.key_pair(),
        );
        let trial = trial.map_err(|error| Error::BadJson(error.to_string()))?;
        change
            .authorise(&trial)
            .await?
            .map_err(|rejection| Error::Forbidden(rejection.0))?;
        Ok(json!({ "room_version": version.as_str(), "event": event }))
    }

    /// Takes in a membership event of `origin` about a user of its own, and sends it on to the other servers.
    /// Returns the event as it was accepted, and the room after it.
    pub(crate) async fn accept_member(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
        membership: &str,
    ) -> Result<(Pdu, Arc<Snapshot>), Error> {
        let not_found = || Error::NotFound(format!("the room {room_id} is not known here"));
        let room = self.resident_room(room_id).await?.ok_or_else(not_found)?;
        self.check_acl(origin, &room.snapshot()).await?;
        if room.snapshot().is_partial() {
            return Err(Error::PartialState);
        }
        let version = room.snapshot().version();
        let pdu = Pdu::from_value(version, event).map_err(|error| Error::BadJson(error.to_string()))?;
        check_member(&pdu, origin, room_id, event_id, membership)?;
        if self.id_is_taken(&pdu).await? {
            return Err(Error::InvalidParam(ID_IS_TAKEN.into()));
        }
        if let Some(known) = self
            .stored_event(event_id)
            .await?
            .filter(|event| event.decision.order.is_some())
        {
            return Ok((known.pdu.clone(), room.snapshot()));
        }
        let pdu = signed(self.vouched(pdu, &room.snapshot()).await?).map_err(Error::BadJson)?;
        if !self.past_is_known(&pdu).await? {
            return Err(Error::InvalidParam(
                "the event follows events that are not known here".into(),
            ));
        }
        let mut change = self.change(&room).await;
        let others = change.others(origin).await?;
        match change.admit(pdu.clone(), None, others).await? {
            Outcome::Accepted => (),
            Outcome::Rejected(reason) | Outcome::SoftFailed(reason) => return Err(Error::Forbidden(reason)),
        }
        change.commit().await?;
        Ok((pdu, room.snapshot()))
    }

    /// The event with the signature of this server, if it names a user of this server as the one who lets the
    /// sender into a restricted room. That must be so: the rules leave it to this server to see to it.
    async fn vouched(&self, pdu: Pdu, room: &Snapshot) -> Result<Pdu, Error> {
        if !self.must_vouch(&pdu) {
            return Ok(pdu);
        }
        check_voucher(self.voucher(pdu.sender(), room).await?)?;
        let signed = pdu.signed_by(self.server_name().as_str(), self.identity.key_pair());
        signed.map_err(|error| Error::BadJson(error.to_string()))
    }

    /// Whether the event names a user of this server as the one who lets the sender into a restricted room.
    fn must_vouch(&self, pdu: &Pdu) -> bool {
        let content: JsonObject = pdu.content_as().unwrap_or_default();
        let voucher = content.get(VOUCHER).and_then(Value::as_str);
        voucher
            .and_then(|user| UserId::parse(user).ok())
            .is_some_and(|user| self.is_local(&user))
    }
}

/// The user of this server who vouches for a join, if one has to.
///
/// # Errors
/// Why nobody does.
pub(super) fn check_voucher(voucher: Voucher) -> Result<Option<OwnedUserId>, Error> {
    match voucher {
        Voucher::NotNeeded => Ok(None),
        Voucher::Of(user_id) => Ok(Some(user_id)),
        Voucher::Nobody => Err(Error::Forbidden(
            "the user is in none of the rooms whose members may join".into(),
        )),
        Voucher::Unknown => Err(Error::UnableToAuthoriseJoin(
            "this server is not in the rooms whose members may join".into(),
        )),
        Voucher::Powerless => Err(Error::UnableToGrantJoin(
            "no user of this server may let anybody in".into(),
        )),
    }
}

fn check_member(
    pdu: &Pdu,
    origin: &ServerName,
    room_id: &RoomId,
    event_id: &EventId,
    membership: &str,
) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::InvalidParam(format!("{what} is not what was asked for")));
    if pdu.event_id() != event_id {
        return wrong("the event id");
    }
    if pdu.room_id() != room_id {
        return wrong("the room");
    }
    if pdu.membership().as_deref() != Some(membership) || pdu.state_key() != Some(pdu.sender().as_str()) {
        return wrong("the membership");
    }
    if pdu.sender().server_name() != origin {
        return Err(Error::Forbidden("the sender is not one of your server".into()));
    }
    Ok(())
}

impl Template {
    /// Reads another server's answer to a request for a membership event of `user_id`.
    pub(crate) fn read(
        mut answer: Value,
        room_id: &RoomId,
        user_id: &UserId,
        content: JsonObject,
    ) -> Result<Self, Error> {
        let malformed = || Error::Unreachable("the other server gave a malformed answer".into());
        let version = answer
            .get("room_version")
            .and_then(Value::as_str)
            .unwrap_or("1")
            .to_owned();
        let version = version
            .parse()
            .map_err(|_| Error::UnsupportedRoomVersion(version))?;
        let event = answer.get_mut("event").map(Value::take).ok_or_else(malformed)?;
        let mut event: JsonObject = serde_json::from_value(event).map_err(|_| malformed())?;
        let is = |field: &str, value: &str| event.get(field).and_then(Value::as_str) == Some(value);
        let is_asked_for = is("room_id", room_id.as_str())
            && is("sender", user_id.as_str())
            && is("state_key", user_id.as_str())
            && is("type", "m.room.member");
        if !is_asked_for {
            return Err(malformed());
        }
        let voucher = event
            .get("content")
            .and_then(|theirs| theirs.get(VOUCHER))
            .cloned();
        let mut content = content;
        content.extend(voucher.map(|voucher| (VOUCHER.to_owned(), voucher)));
        event.insert("content".into(), content.into());
        Ok(Self { version, event })
    }
}

/// The field that names who lets the sender into a restricted room.
pub(crate) const VOUCHER: &str = "join_authorised_via_users_server";
