//! Server access lists. Spec: Server-Server API, section 'Server Access Control Lists (ACLs)'.

use ruma_common::{RoomId, ServerName};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    policy::glob::glob_matches,
    rooms::{
        room::Snapshot,
        view::{SERVER_ACL, View},
    },
};

impl Homeserver {
    /// Checks that the room's access list does not deny `server`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if it does.
    pub(crate) async fn check_acl(&self, server: &ServerName, snapshot: &Snapshot) -> Result<(), Error> {
        match is_denied(server, &self.view(snapshot, &[SERVER_ACL]).await?) {
            true => Err(Error::Forbidden(
                "the room's access list denies your server".into(),
            )),
            false => Ok(()),
        }
    }

    /// Refuses an access list that denies this server, whose users could not take it back. Synapse does the same.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it does.
    pub(crate) fn check_own_acl(&self, content: &JsonObject) -> Result<(), Error> {
        match denies(content, self.server_name()) {
            true => Err(Error::InvalidParam(
                "the access list would deny your own server".into(),
            )),
            false => Ok(()),
        }
    }

    /// Whether what `server` says of the room counts: that is held here, and its access list does not deny the server.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn lets_speak(&self, server: &ServerName, room_id: &RoomId) -> Result<bool, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(false);
        };
        let state = self.view(&room.snapshot(), &[SERVER_ACL]).await?;
        Ok(!is_denied(server, &state))
    }
}

/// Whether the room's access list denies `server`. `state` needs [`SERVER_ACL`].
pub(crate) fn is_denied(server: &ServerName, state: &View) -> bool {
    let list = state.get(SERVER_ACL.0, SERVER_ACL.1);
    list.is_some_and(|list| denies(list.content(), server))
}

/// Whether an access list of this content denies `server`. All of it counts: its size is bounded by that of an event.
fn denies(content: &JsonObject, server: &ServerName) -> bool {
    let literal_allowed = content
        .get("allow_ip_literals")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let matches = |field: &str| {
        let patterns = content.get(field).and_then(Value::as_array).into_iter().flatten();
        let mut patterns = patterns.filter_map(Value::as_str);
        patterns.any(|pattern| glob_matches(pattern, server.host()))
    };
    (server.is_ip_literal() && !literal_allowed) || matches("deny") || !matches("allow")
}

#[cfg(test)]
mod tests {
    use ruma_common::server_name;
    use serde_json::json;

    use super::*;
    use crate::rooms::create::object;

    #[test]
    fn a_long_list_counts_to_its_end() {
        let mut deny: Vec<_> = (0..2_000).map(|number| format!("{number}.example")).collect();
        deny.push("evil.example".into());
        let content = object(json!({ "allow": ["*"], "deny": deny }));
        assert!(denies(&content, server_name!("evil.example")));
        assert!(!denies(&content, server_name!("good.example")));
    }
}
