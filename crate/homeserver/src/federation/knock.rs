//! Knocking through another server, both sides. Spec: Server-Server API, section 'Knocking upon a room'.

use hearth_rooms::RoomVersion;
use http::Method;
use ruma_common::{EventId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::{invite::take_stripped, received::to_value, uri::path},
    rooms::{
        event::{Decision, StoredEvent},
        membership::membership_content,
        memberships::UserMembership,
        view::member,
    },
};

impl Homeserver {
    /// Answers `GET /make_knock`: a knock for the other server to complete. `versions` are the room versions that it
    /// supports.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::IncompatibleRoomVersion`], [`Error::PartialState`].
    pub async fn make_knock(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        versions: &[String],
    ) -> Result<Value, Error> {
        let room = self.room_for_member(origin, room_id, user_id).await?;
        let version = room.snapshot().version().as_str();
        if !versions.iter().any(|known| known == version) {
            return Err(Error::IncompatibleRoomVersion(version.to_owned()));
        }
        self.lay_out_member(&room, user_id, membership_content("knock", None))
            .await
    }

    /// Answers `PUT /send_knock`: takes in the knock, and describes the room to whom it is of.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`], [`Error::InvalidParam`],
    /// [`Error::PartialState`].
    pub async fn accept_knock(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
    ) -> Result<Value, Error> {
        let (knock, snapshot) = self
            .accept_member(origin, room_id, event_id, event, "knock")
            .await?;
        let sender = knock.sender();
        // One that came before may have been refused since: the room is no longer told about.
        if self.view(&snapshot, &[member(sender)]).await?.membership(sender) != "knock" {
            return Err(Error::Forbidden("the knock is over".into()));
        }
        let room = self.known_room(room_id).await?;
        let state = self.change(&room).await.stripped_for(sender, sender).await?;
        Ok(json!({ "knock_room_state": state }))
    }

    /// Knocks on a room that this server is not in, by way of the first of `servers` that helps.
    pub(crate) async fn knock_remote(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        content: JsonObject,
    ) -> Result<(), Error> {
        let content = &content;
        self.through_first(room_id, servers, |server| async move {
            self.knock_through(&server, user_id, room_id, content.clone())
                .await
        })
        .await
    }

    async fn knock_through(
        &self,
        server: &ServerName,
        user_id: &UserId,
        room_id: &RoomId,
        content: JsonObject,
    ) -> Result<(), Error> {
        let before = self.user_membership(user_id, room_id);
        let make = ("v1/make_knock", &*RoomVersion::as_query());
        let knock = self.sign_now(self.template(server, make, room_id, user_id, content).await?)?;
        let ids = [room_id.as_str(), knock.event_id().as_str()];
        let mut answer = self
            .request(
                server,
                Method::PUT,
                &path("v1/send_knock", &ids, ""),
                Some(to_value(&knock)?),
            )
            .await?;
        let stripped = take_stripped(&mut answer, "knock_room_state", &knock);
        let event = StoredEvent::new(knock, Decision::new(room_id));
        let Some(_outside) = self.stay_outside(room_id).await? else {
            return Ok(());
        };
        if self.user_membership(user_id, room_id) != before {
            return Ok(());
        }
        let (joined_at, left) = self.last_stay(user_id, room_id).await?;
        let membership = UserMembership {
            membership: "knock".into(),
            event_id: event.event_id.clone(),
            position: 0,
            joined_at,
            left,
            through: Some(server.to_owned()),
            has_own_event: false,
        };
        self.set_outside(user_id, room_id, membership, Some(stripped), Some(&event))
            .await
    }
}
