//! The published directory of rooms. Spec: Client-Server API, section 'Listing rooms'.

use ruma_common::{OwnedServerName, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{Error, Homeserver, JsonObject};

/// Which part of the directory is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DirectoryQuery {
    /// The most rooms to return.
    pub limit: Option<u64>,
    /// Where to go on, as an earlier answer said.
    pub since: Option<String>,
    /// `generic_search_term` and `room_types`.
    pub filter: Option<JsonObject>,
    /// Another server, whose directory is asked for.
    #[serde(skip)]
    pub server: Option<OwnedServerName>,
}

/// One page of the directory, as the spec has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DirectoryPage {
    /// The rooms, those with most members first.
    pub chunk: Vec<JsonObject>,
    /// The token of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// About how many rooms there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_room_count_estimate: Option<u64>,
}

impl Homeserver {
    /// A page of the directory of this server, or of `query.server`.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if `since` is malformed, [`Error::Unreachable`] if the other server is.
    pub async fn public_rooms(&self, query: DirectoryQuery) -> Result<DirectoryPage, Error> {
        todo!()
    }

    /// Whether a room is in this server's directory.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, Error> {
        todo!()
    }

    /// Puts a room into this server's directory or takes it out.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here, [`Error::Forbidden`] if the user may not set its
    /// canonical alias.
    pub async fn set_published(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), Error> {
        todo!()
    }
}
