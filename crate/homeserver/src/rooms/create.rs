//! Making rooms. Spec: Client-Server API, section 'Creation'.

use ruma_common::{OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;

use crate::{Error, Homeserver, JsonObject};

/// The body of `POST /createRoom`, field by field as the spec has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CreateRoom {
    /// `public` puts the room into the directory; `private` is the default.
    pub visibility: Option<String>,
    /// The local part of the room's alias.
    pub room_alias_name: Option<String>,
    /// The room's name.
    pub name: Option<String>,
    /// The room's topic.
    pub topic: Option<String>,
    /// Users to invite.
    pub invite: Vec<OwnedUserId>,
    /// The room version, or the server's default.
    pub room_version: Option<String>,
    /// Extra fields of the create event.
    pub creation_content: JsonObject,
    /// State events to set, after those of the preset.
    pub initial_state: Vec<InitialState>,
    /// `private_chat`, `public_chat` or `trusted_private_chat`.
    pub preset: Option<String>,
    /// Marks the invitations as those of a direct chat.
    pub is_direct: bool,
    /// Overrides of the power levels' top-level fields.
    pub power_level_content_override: JsonObject,
}

/// One event of [`CreateRoom::initial_state`].
#[derive(Clone, Debug, Deserialize)]
pub struct InitialState {
    /// The event type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state key.
    #[serde(default)]
    pub state_key: String,
    /// The content.
    pub content: JsonObject,
}

impl Homeserver {
    /// Makes a room with `creator` in it. The whole room is one commit.
    ///
    /// # Errors
    /// [`Error::UnsupportedRoomVersion`], [`Error::RoomInUse`] if the alias is taken,
    /// [`Error::InvalidRoomState`] if the initial state is not allowed, [`Error::InvalidParam`].
    pub async fn create_room(&self, creator: &UserId, request: CreateRoom) -> Result<OwnedRoomId, Error> {
        todo!()
    }
}
