//! What a room is like, for whoever considers joining it. Spec: Client-Server API, sections 'Room summaries' and
//! 'Spaces'.
//!
//! A room is described to whoever could join it, knock on it or read it, and to nobody else.

use std::sync::Arc;

use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        description::{CHILDREN, CHILDREN_STATE},
        restricted::allowed_rooms,
        room::{Room, Snapshot},
        view::{HISTORY_VISIBILITY, JOIN_RULES, View, member},
    },
};

/// The type of rooms that other rooms are listed in.
pub(crate) const SPACE: &str = "m.space";
/// The state event that encrypts a room.
const ENCRYPTION: (&str, &str) = ("m.room.encryption", "");

/// Who wants to know what a room is like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visitor<'a> {
    /// Anybody.
    Anybody,
    /// A user of this server.
    User(&'a UserId),
    /// Another server, for its users.
    Server(&'a ServerName),
}

impl Homeserver {
    /// A summary of a room, for a user or anybody, by way of `via` if the room is not held here.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such room, or it is not for this visitor to see.
    pub async fn room_summary(
        &self,
        user_id: Option<&UserId>,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
    ) -> Result<JsonObject, Error> {
        let (room_id, servers) = self.locate(room).await?;
        let visitor = user_id.map_or(Visitor::Anybody, Visitor::User);
        let mut servers = [via, &servers].concat();
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        let found = match self.resident_room(&room_id).await? {
            Some(room) => self.described(visitor, &room).await?,
            // Who is not known does not make this server ask others.
            None if user_id.is_none() => None,
            None => self.remote_description(visitor, &room_id, &servers).await?,
        };
        let mut summary =
            found.ok_or_else(|| Error::NotFound("no such room, or none that you may see".into()))?;
        summary.remove(CHILDREN_STATE);
        summary.remove(CHILDREN);
        let membership = user_id.and_then(|user_id| self.user_membership(user_id, &room_id));
        summary.extend(membership.map(|entry| ("membership".to_owned(), entry.membership.into())));
        Ok(summary)
    }

    /// What a room held here is like, if `visitor` may know.
    pub(crate) async fn described(
        &self,
        visitor: Visitor<'_>,
        room: &Arc<Room>,
    ) -> Result<Option<JsonObject>, Error> {
        let snapshot = room.snapshot();
        match self.may_visit(visitor, &snapshot).await? {
            true => self.description(&snapshot).await.map(Some),
            false => Ok(None),
        }
    }

    /// What a room held here is like.
    async fn description(&self, snapshot: &Snapshot) -> Result<JsonObject, Error> {
        let mut summary = self.directory_entry(snapshot).await?;
        let state = self.view(snapshot, &[JOIN_RULES, ENCRYPTION]).await?;
        summary.insert("room_version".into(), snapshot.version().as_str().into());
        let algorithm = state.text(ENCRYPTION, "algorithm");
        summary.extend(algorithm.map(|algorithm| ("encryption".to_owned(), algorithm.into())));
        let allowed = allowed_rooms(&state);
        if !allowed.is_empty() {
            summary.insert("allowed_room_ids".into(), json!(allowed));
        }
        Ok(summary)
    }

    /// Whether `visitor` could read a room or come into it.
    async fn may_visit(&self, visitor: Visitor<'_>, snapshot: &Snapshot) -> Result<bool, Error> {
        let keys = [JOIN_RULES, HISTORY_VISIBILITY];
        let state = self.view(snapshot, &keys).await?;
        if is_open(&state) {
            return Ok(true);
        }
        let rule = state.text(JOIN_RULES, "join_rule");
        let restricted = matches!(rule, Some("restricted" | "knock_restricted"));
        let allowed = if restricted {
            allowed_rooms(&state)
        } else {
            Vec::new()
        };
        match visitor {
            Visitor::Anybody => Ok(false),
            Visitor::User(user_id) => self.user_may_visit(user_id, snapshot, &allowed).await,
            Visitor::Server(server) => self.server_may_visit(server, snapshot, &allowed).await,
        }
    }

    async fn user_may_visit(
        &self,
        user_id: &UserId,
        snapshot: &Snapshot,
        allowed: &[OwnedRoomId],
    ) -> Result<bool, Error> {
        let state = self.view(snapshot, &[member(user_id)]).await?;
        Ok(matches!(state.membership(user_id), "join" | "invite") || self.is_in_one_of(user_id, allowed))
    }

    /// Whether a user of `server` may be in the room, invited to it, or in a room whose members may join.
    async fn server_may_visit(
        &self,
        server: &ServerName,
        snapshot: &Snapshot,
        allowed: &[OwnedRoomId],
    ) -> Result<bool, Error> {
        if self.servers(snapshot).await?.contains_key(server) {
            return Ok(true);
        }
        for room_id in allowed {
            if self.has_server(room_id, server).await? {
                return Ok(true);
            }
        }
        if snapshot.members().invited == 0 {
            return Ok(false);
        }
        let invites = self.members_with(&snapshot.room_id, "invite").await?;
        let invites = self.stored_events(&invites).await?;
        let mut invited = invites
            .iter()
            .filter_map(|event| UserId::parse(event.state_key()?).ok());
        Ok(invited.any(|user_id| user_id.server_name() == server))
    }

    fn is_in_one_of(&self, user_id: &UserId, rooms: &[OwnedRoomId]) -> bool {
        let joined = |room_id: &OwnedRoomId| {
            let entry = self.user_membership(user_id, room_id);
            entry.is_some_and(|entry| entry.membership == "join")
        };
        rooms.iter().any(joined)
    }

    /// Whether what another server says of a room is for `visitor` to know: it was told to this server for all of its
    /// users.
    pub(crate) fn may_know(&self, visitor: Visitor<'_>, room_id: &RoomId, summary: &JsonObject) -> bool {
        let rule = summary
            .get("join_rule")
            .and_then(Value::as_str)
            .unwrap_or("public");
        let readable = summary.get("world_readable").and_then(Value::as_bool) == Some(true);
        if readable || matches!(rule, "public" | "knock" | "knock_restricted") {
            return true;
        }
        let Visitor::User(user_id) = visitor else {
            return false;
        };
        let allowed = summary.get("allowed_room_ids").and_then(Value::as_array);
        let allowed = allowed.into_iter().flatten().take(50);
        let allowed: Vec<_> = allowed
            .filter_map(|id| RoomId::parse(id.as_str()?).ok())
            .collect();
        let own = self.user_membership(user_id, room_id);
        let waits = own.is_some_and(|own| own.membership == "invite");
        waits || (rule == "restricted" && self.is_in_one_of(user_id, &allowed))
    }
}

/// Whether anybody may come in, ask to, or read.
fn is_open(state: &View) -> bool {
    let readable = state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable");
    let rule = state.text(JOIN_RULES, "join_rule");
    readable || matches!(rule, Some("public" | "knock" | "knock_restricted"))
}
