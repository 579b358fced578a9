//! Queries of other servers. Spec: Server-Server API, sections 'Querying for information' and 'Device Management'.

use http::Method;
use ruma_common::{RoomAliasId, UserId};
use serde_json::{Value, json};

use crate::{Error, Homeserver, JsonObject, federation::uri::escaped};

impl Homeserver {
    /// Answers `GET /query/directory`: `{"room_id", "servers"}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the alias means nothing here.
    pub async fn query_directory(&self, alias: &RoomAliasId) -> Result<Value, Error> {
        let (room_id, servers) = self.local_alias(alias).await?;
        Ok(json!({ "room_id": room_id, "servers": servers }))
    }

    /// The profile of a user of another server, asked of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user is not known there, [`Error::Unreachable`].
    pub async fn remote_profile(&self, user_id: &UserId) -> Result<JsonObject, Error> {
        let uri = format!(
            "/_matrix/federation/v1/query/profile?user_id={}",
            escaped(user_id.as_str())
        );
        let answer = self
            .request(user_id.server_name(), Method::GET, &uri, None)
            .await?;
        match answer {
            Value::Object(profile) => Ok(profile),
            _ => Err(Error::Unreachable(
                "the other server gave a malformed answer".into(),
            )),
        }
    }
}
