//! Queries of other servers. Spec: Server-Server API, sections 'Querying for information' and 'Device Management'.

use ruma_common::{RoomAliasId, UserId};
use serde_json::Value;

use crate::{Error, Homeserver, JsonObject};

impl Homeserver {
    /// Answers `GET /query/directory`: `{"room_id", "servers"}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the alias means nothing here.
    pub async fn query_directory(&self, alias: &RoomAliasId) -> Result<Value, Error> {
        todo!()
    }

    /// The profile of a user of another server, asked of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user is not known there, [`Error::Unreachable`].
    pub async fn remote_profile(&self, user_id: &UserId) -> Result<JsonObject, Error> {
        todo!()
    }
}
