//! Rooms that members of other rooms may join. Spec: Client-Server API, section 'Restricted rooms'.
//!
//! The rules of a room cannot look into another one: a user of the room who may invite vouches, by their server's
//! signature, for the one who joins.

use std::sync::Arc;

use http::Method;
use ruma_common::{OwnedUserId, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    federation::{
        handshake::MAX_HELPERS,
        inbound::PATIENCE,
        received::{to_value, verified},
        uri::path,
    },
    rooms::{
        room::{Room, Snapshot},
        view::{CREATE, JOIN_RULES, POWER_LEVELS, View, member},
    },
};

/// The most rooms whose members a restricted room lets in that are looked at.
const MAX_ALLOW_RULES: usize = 50;

/// Who vouches for a user who wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Voucher {
    /// Nobody has to: the room is not restricted, or the user is invited or joined.
    NotNeeded,
    /// A user of this server.
    Of(OwnedUserId),
    /// Nobody, because the user is in none of the rooms named.
    Nobody,
    /// Nobody of this server, which does not know all of the rooms named.
    Unknown,
    /// Nobody of this server: no user of it may invite.
    Powerless,
}

impl Homeserver {
    /// Who lets `user_id` into the room.
    pub(crate) async fn voucher(&self, user_id: &UserId, snapshot: &Snapshot) -> Result<Voucher, Error> {
        let keys = [CREATE, JOIN_RULES, POWER_LEVELS, member(user_id)];
        let state = self.view(snapshot, &keys).await?;
        let rule = state.text(JOIN_RULES, "join_rule");
        let restricted = matches!(rule, Some("restricted" | "knock_restricted"));
        if !restricted || matches!(state.membership(user_id), "join" | "invite") {
            return Ok(Voucher::NotNeeded);
        }
        let (mut allowed, mut all_known) = (false, true);
        for room_id in allowed_rooms(&state) {
            let known = self.resident_room(&room_id).await?.is_some();
            all_known &= known;
            allowed = allowed || known && self.is_joined(&room_id, user_id).await?;
        }
        let may_invite = |user: &OwnedUserId| state.power_level(user) >= state.power_field("invite", 0);
        let mut members = self.local_members(&snapshot.room_id).into_iter();
        Ok(match allowed {
            true => members.find(may_invite).map_or(Voucher::Powerless, Voucher::Of),
            false if all_known => Voucher::Nobody,
            false => Voucher::Unknown,
        })
    }

    /// Joins a user of this server to a restricted room that it is in, though no user of it can vouch: another
    /// server's user does. `unable` is the answer if nobody can be asked.
    pub(crate) async fn join_vouched_elsewhere(
        &self,
        user_id: &UserId,
        room: &Arc<Room>,
        content: &JsonObject,
    ) -> Result<(), Error> {
        let mut last = Error::Forbidden("you are in none of the rooms whose members may join".into());
        let snapshot = room.snapshot();
        let servers = self.others(&snapshot, self.server_name()).await?;
        for server in servers.iter().take(MAX_HELPERS) {
            match self.join_vouched_by(server, user_id, room, content.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::info!(%server, room_id = %room.room_id, %error, "a server did not let a user in");
                    last = match last {
                        Error::Forbidden(_) if matches!(error, Error::Unreachable(_)) => error,
                        last => last,
                    };
                }
            }
        }
        Err(last)
    }

    /// Asks `server` to take in a join, which it signs and sends to all others, and takes it in here, too.
    async fn join_vouched_by(
        &self,
        server: &ServerName,
        user_id: &UserId,
        room: &Arc<Room>,
        content: JsonObject,
    ) -> Result<(), Error> {
        let version = room.snapshot().version();
        let make = ("v1/make_join", &*format!("ver={}", version.as_str()));
        let template = self
            .template(server, make, &room.room_id, user_id, content)
            .await?;
        let join = self.sign_as(version, template.event)?;
        let ids = [room.room_id.as_str(), join.event_id().as_str()];
        let uri = path("v2/send_join", &ids, "omit_members=true");
        let mut answer = self
            .request(server, Method::PUT, &uri, Some(to_value(&join)?))
            .await?;
        let theirs = answer.get_mut("event").map(Value::take).unwrap_or_default();
        let signed = verified(version, theirs).map_err(Error::Unreachable)?;
        if !signed.is_same_event(&join) {
            return Err(Error::Unreachable(
                "the other server signed something else".into(),
            ));
        }
        let mut gaps = self.gaps(1, PATIENCE);
        match self.take_in(server, room, signed, &mut gaps).await? {
            Ok(()) => Ok(()),
            Err(refusal) => Err(Error::Forbidden(refusal.0)),
        }
    }
}

/// The rooms whose members may join.
pub(crate) fn allowed_rooms(state: &View) -> Vec<ruma_common::OwnedRoomId> {
    let rules = state.get("m.room.join_rules", "");
    let allow = rules.and_then(|rules| rules.content().get("allow")?.as_array());
    let rooms = allow.into_iter().flatten();
    let rooms = rooms.filter(|rule| rule.get("type").and_then(Value::as_str) == Some("m.room_membership"));
    let rooms = rooms.filter_map(|rule| RoomId::parse(rule.get("room_id")?.as_str()?).ok());
    rooms.take(MAX_ALLOW_RULES).collect()
}
