//! Leaving through another server, both sides, and what came from outside. Spec: Server-Server API, section 'Leaving Rooms'.

use std::sync::Arc;

use http::Method;
use ruma_common::{EventId, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::{member_event::Template, received::to_value, uri::path},
    rooms::{
        draft::Draft,
        event::{Decision, StoredEvent},
        membership::membership_content,
        memberships::UserMembership,
        room::Room,
        view::{View, member},
    },
};

impl Homeserver {
    /// Answers `GET /make_leave`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn make_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Value, Error> {
        let room = self.room_for_member(origin, room_id, user_id).await?;
        self.lay_out_member(&room, user_id, membership_content("leave", None))
            .await
    }

    /// Answers `PUT /v2/send_leave`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`], [`Error::InvalidParam`].
    pub async fn accept_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
    ) -> Result<Value, Error> {
        self.accept_member(origin, room_id, event_id, event, "leave")
            .await?;
        Ok(json!({}))
    }

    /// Leaves a room that this server is not in: rejects an invite, in any case here, and with the inviting
    /// server if it can be reached.
    pub(crate) async fn reject_invite(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        content: JsonObject,
    ) -> Result<(), Error> {
        let entry = self.user_membership(user_id, room_id);
        let entry = entry.ok_or_else(|| Error::Forbidden("you are not in this room".into()))?;
        match entry.membership.as_str() {
            "invite" | "knock" => (),
            "leave" => return Ok(()),
            _ => return Err(Error::Forbidden("you are not in this room".into())),
        }
        let mut told = None;
        for server in self.inviting_servers(user_id, room_id).await? {
            match self
                .leave_through(&server, user_id, room_id, content.clone())
                .await
            {
                Ok(event) => {
                    told = Some(event);
                    break;
                }
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "a server was not told that an invite is rejected");
                }
            }
        }
        let Some(_outside) = self.stay_outside(room_id).await? else {
            // Somebody of this server has joined in the meantime.
            let room = self.known_room(room_id).await?;
            return match told {
                Some(_) => Ok(()),
                None => {
                    self.leave_resident(user_id, &room, content, Some(&["invite", "knock"]))
                        .await
                }
            };
        };
        if self.user_membership(user_id, room_id).as_ref() != Some(&entry) {
            return Ok(());
        }
        let leave = UserMembership {
            membership: "leave".into(),
            event_id: told
                .as_ref()
                .map_or(&entry.event_id, |event| &event.event_id)
                .clone(),
            ..entry
        };
        self.set_outside(user_id, room_id, leave, None, told.as_ref())
            .await
    }

    /// Leaves a room that this server is in; only from one of the memberships `from`, if it names any. An invite or a
    /// knock from outside of which the room knows nothing ends here alone.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if there is nothing to leave, [`Error::PartialState`] if the room may still come to know of the
    /// invite or knock.
    pub(crate) async fn leave_resident(
        &self,
        user_id: &UserId,
        room: &Arc<Room>,
        content: JsonObject,
        from: Option<&'static [&'static str]>,
    ) -> Result<(), Error> {
        let room_id = &room.room_id;
        let is_known = |state: &View| matches!(state.membership(user_id), "join" | "invite" | "knock");
        let waiting = || {
            let row = self.user_membership(user_id, room_id);
            row.filter(|row| matches!(row.membership.as_str(), "invite" | "knock"))
        };
        let mut state = self.view(&room.snapshot(), &[member(user_id)]).await?;
        if !is_known(&state) && waiting().is_some() {
            self.whole(room).await?;
            // Nobody changes the row meanwhile, be it from outside.
            let _joining = self.partial.joining(room_id).lock_arc().await;
            let _changing = room.lock.lock_arc().await;
            state = self.view(&room.snapshot(), &[member(user_id)]).await?;
            if let Some(row) = waiting().filter(|_| !is_known(&state)) {
                let membership = state.membership(user_id).to_owned();
                let ended = UserMembership { membership, ..row };
                return self.set_outside(user_id, room_id, ended, None, None).await;
            }
        }
        match state.membership(user_id) {
            "join" | "invite" | "knock" => {
                let leave = Draft::member(user_id, user_id, content);
                self.send_draft(room_id, Draft { from, ..leave }).await.map(drop)
            }
            "leave" if state.get("m.room.member", user_id.as_str()).is_some() => Ok(()),
            _ => Err(Error::Forbidden("you are not in this room".into())),
        }
    }

    /// Leaves through `server`. Returns the leave event.
    async fn leave_through(
        &self,
        server: &ServerName,
        user_id: &UserId,
        room_id: &RoomId,
        content: JsonObject,
    ) -> Result<StoredEvent, Error> {
        let make = ("v1/make_leave", "");
        let Template { version, event } = self.template(server, make, room_id, user_id, content).await?;
        let leave = self.sign_as(version, event)?;
        let uri = path(
            "v2/send_leave",
            &[room_id.as_str(), leave.event_id().as_str()],
            "",
        );
        self.request(server, Method::PUT, &uri, Some(to_value(&leave)?))
            .await?;
        Ok(StoredEvent::new(leave, Decision::new(room_id)))
    }
}
