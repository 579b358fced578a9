//! Joining, inviting, leaving, kicking, banning. Spec: Client-Server API, section 'Room membership'.

use std::sync::Arc;

use hearth_storage::{BoxFuture, Table, WriteBatch};
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, UserId};

use crate::{
    Error, Homeserver, JsonObject,
    federation::member_event::VOUCHER,
    rooms::{
        draft::Draft,
        memberships::{UserMembership, forgotten_key, invite_key, user_key},
        restricted::Voucher,
        room::Room,
    },
    stored::to_vec,
};

impl Homeserver {
    /// Joins `user_id` to a room, through `via` (servers to ask, best first) if it is not held here.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user may not join, [`Error::NotFound`] if no such room or alias is known,
    /// [`Error::Unreachable`] if no server that could help answers.
    pub async fn join_room(
        &self,
        user_id: &UserId,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
        reason: Option<String>,
    ) -> Result<OwnedRoomId, Error> {
        let (room_id, servers) = self.locate(room).await?;
        self.check_guest(user_id, &room_id).await?;
        let content = self.member_content(user_id, "join", reason).await?;
        self.enter(user_id, &room_id, [via, &servers].concat(), content)
            .await?;
        Ok(room_id)
    }

    /// Joins `user_id` to a room with a membership of this content, through `candidates` (servers to ask, best first) and
    /// those that are known here, if it is not held here.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(super) fn enter<'a>(
        &'a self,
        user_id: &'a UserId,
        room_id: &'a RoomId,
        mut candidates: Vec<OwnedServerName>,
        content: JsonObject,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let returns = self.has_joined(user_id, room_id);
            match self.resident_room(room_id).await? {
                Some(_) if self.is_joined(room_id, user_id).await? => return Ok(()),
                Some(room) => self.join_resident(user_id, &room, content).await?,
                None => {
                    candidates.extend(self.ways_into(user_id, room_id).await?);
                    self.join_remote(user_id, room_id, candidates, content).await?;
                }
            }
            self.tell_presence(user_id);
            if !returns {
                self.carry_over(user_id, room_id).await;
            }
            Ok(())
        })
    }

    /// Asks to be let into a room, through `via` (servers to ask, best first) if it is not held here.
    /// Spec: Client-Server API, section 'Knocking on rooms'.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user may not knock, or is in the room or invited already; [`Error::NotFound`] if no
    /// such room or alias is known, [`Error::Unreachable`] if no server that could help answers.
    pub async fn knock(
        &self,
        user_id: &UserId,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
        reason: Option<String>,
    ) -> Result<OwnedRoomId, Error> {
        let (room_id, servers) = self.locate(room).await?;
        let content = self.member_content(user_id, "knock", reason).await?;
        if let Some(room) = self.resident_room(&room_id).await? {
            self.whole(&room).await?;
            self.send_draft(&room_id, Draft::member(user_id, user_id, content))
                .await?;
            return Ok(room_id);
        }
        let mut candidates = [via, &servers].concat();
        candidates.extend(self.ways_into(user_id, &room_id).await?);
        self.knock_remote(user_id, &room_id, candidates, content).await?;
        Ok(room_id)
    }

    /// The rooms that two users are both joined to; the first is one of this server.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn mutual_rooms(&self, user_id: &UserId, other: &UserId) -> Result<Vec<OwnedRoomId>, Error> {
        let mut mutual = Vec::new();
        for room_id in self.joined_rooms(user_id) {
            if self.is_joined(&room_id, other).await? {
                mutual.push(room_id);
            }
        }
        Ok(mutual)
    }

    /// The room that is named, and for an alias the servers that know it.
    pub(crate) async fn locate(
        &self,
        room: &RoomOrAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        match <&RoomId>::try_from(room) {
            Ok(room_id) => Ok((room_id.to_owned(), Vec::new())),
            Err(alias) => self.resolve_alias(alias).await,
        }
    }

    /// Invites `target`; a remote one through their server.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the sender may not, [`Error::Unreachable`] if the other server does not answer.
    pub async fn invite_user(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let content = self.invite_content(target, reason).await?;
        if self.is_local(target) {
            self.send_draft(room_id, Draft::member(sender, target, content))
                .await?;
        } else {
            self.invite_remote(sender, room_id, target, content).await?;
        }
        Ok(())
    }

    /// Leaves a room or rejects an invite. An invite is rejected here even if its server cannot be reached.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is neither in the room nor invited, [`Error::PartialState`] if the room may still
    /// come to know of the invite.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub fn leave_room<'a>(
        &'a self,
        user_id: &'a UserId,
        room_id: &'a RoomId,
        reason: Option<String>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let content = membership_content("leave", reason);
            let Some(room) = self.resident_room(room_id).await? else {
                return self.reject_invite(user_id, room_id, content).await;
            };
            self.leave_resident(user_id, &room, content, None).await
        })
    }

    /// Removes `target` from the room.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the sender may not or `target` is not in the room.
    pub async fn kick_user(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let from = Some(["join", "invite", "knock"].as_slice());
        self.remove(sender, room_id, target, membership_content("leave", reason), from)
            .await
    }

    /// Bans `target`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the sender may not.
    pub async fn ban_user(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        self.remove(sender, room_id, target, membership_content("ban", reason), None)
            .await
    }

    /// Lifts the ban of `target`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the sender may not or `target` is not banned.
    pub async fn unban_user(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let from = Some(["ban"].as_slice());
        self.remove(sender, room_id, target, membership_content("leave", reason), from)
            .await
    }

    /// Forgets a room that the user has left: it is no longer listed, and its history is no longer shown. Clients that
    /// knew it are still told that it has ended.
    ///
    /// # Errors
    /// [`Error::NotLeft`] if the user is still in the room.
    pub async fn forget_room(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), Error> {
        self.delete_membership(user_id, room_id, true).await
    }

    /// Deletes the membership of a user who has left the room. Whether clients that knew it `are_told` that it
    /// has ended.
    ///
    /// # Errors
    /// [`Error::NotLeft`] if the user is still in the room.
    pub(crate) async fn delete_membership(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        are_told: bool,
    ) -> Result<(), Error> {
        // Nobody joins or is invited meanwhile, be it from outside: their row would go with the one that was forgotten.
        let _joining = self.partial.joining(room_id).lock_arc().await;
        let _changing = match self.room(room_id).await? {
            Some(room) => Some(room.lock.lock_arc().await),
            None => None,
        };
        let Some(entry) = self.user_membership(user_id, room_id) else {
            return Ok(());
        };
        if matches!(entry.membership.as_str(), "join" | "invite" | "knock") {
            return Err(Error::NotLeft);
        }
        let mut batch = WriteBatch::new();
        batch.delete(Table::Memberships, user_key(user_id, room_id));
        batch.delete(Table::Memberships, invite_key(user_id, room_id));
        self.delete_own_event(room_id, &entry, &mut batch).await?;
        // Nothing of the stay itself is told any more.
        let end = UserMembership {
            joined_at: None,
            left: None,
            ..entry
        };
        let surplus = self.surplus_forgotten(user_id).filter(|_| are_told);
        if let Some(surplus) = &surplus {
            batch.delete(Table::Memberships, forgotten_key(user_id, surplus));
        }
        if are_told {
            batch.put(Table::Memberships, forgotten_key(user_id, room_id), to_vec(&end)?);
        }
        self.seams.store.commit(batch).await?;
        self.events.forget(&end.event_id);
        if let Some(surplus) = surplus {
            self.forgotten_rooms.publish(user_id, &surplus, None);
        }
        if are_told {
            self.forgotten_rooms.publish(user_id, room_id, Some(end));
        }
        self.user_rooms.publish(user_id, room_id, None);
        Ok(())
    }

    /// Puts the user's present profile into their membership of every room that they are in. Called when the
    /// profile is set; rooms that do not take it are left as they are.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`], if the profile cannot be read.
    pub async fn publish_profile(&self, user_id: &UserId) -> Result<(), Error> {
        for room_id in self.joined_rooms(user_id) {
            let content = self.member_content(user_id, "join", None).await?;
            let draft = Draft::member(user_id, user_id, content);
            if let Err(error) = self.send_draft(&room_id, draft).await {
                tracing::warn!(%room_id, %error, "a room does not show a changed profile");
            }
        }
        Ok(())
    }

    /// The room, if a user of this server is joined to it: then its state is known here.
    pub(crate) async fn resident_room(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, Error> {
        let room = self.room(room_id).await?;
        Ok(room.filter(|room| room.snapshot().members().local > 0))
    }

    /// Joins a room that this server is in, once it knows who is banned from it. A restricted room vouches for
    /// members of the rooms it names.
    pub(crate) async fn join_resident(
        &self,
        user_id: &UserId,
        room: &Arc<Room>,
        mut content: JsonObject,
    ) -> Result<(), Error> {
        self.whole(room).await?;
        match self.voucher(user_id, &room.snapshot()).await? {
            Voucher::Of(user) => {
                content.insert(VOUCHER.into(), user.as_str().into());
            }
            Voucher::Powerless | Voucher::Unknown => {
                return self.join_vouched_elsewhere(user_id, room, &content).await;
            }
            // The room's rules say the rest.
            Voucher::NotNeeded | Voucher::Nobody => (),
        }
        self.send_draft(&room.room_id, Draft::member(user_id, user_id, content))
            .await
            .map(drop)
    }

    /// The servers by which a local user may come into a room that is not held here, best first: those that the user's
    /// invite and the room's id name, and those that were in the room when this server left it.
    async fn ways_into(&self, user_id: &UserId, room_id: &RoomId) -> Result<Vec<OwnedServerName>, Error> {
        let mut servers = self.inviting_servers(user_id, room_id).await?;
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        servers.extend(self.near_first(self.servers_of(room_id).await?));
        Ok(servers)
    }

    /// The servers that know the room that a local user is invited to, or has knocked on.
    pub(crate) async fn inviting_servers(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedServerName>, Error> {
        let invited = self
            .user_membership(user_id, room_id)
            .filter(|entry| matches!(entry.membership.as_str(), "invite" | "knock"));
        let Some(invited) = invited else {
            return Ok(Vec::new());
        };
        if invited.membership == "knock" {
            return Ok(invited.through.into_iter().collect());
        }
        let event = self.stored_event(&invited.event_id).await?;
        Ok(event
            .iter()
            .map(|event| event.sender().server_name().to_owned())
            .collect())
    }

    /// Removes or readmits `target`, whose membership is one of `from`.
    async fn remove(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: &UserId,
        content: JsonObject,
        from: Option<&'static [&'static str]>,
    ) -> Result<(), Error> {
        let draft = Draft {
            from,
            ..Draft::member(sender, target, content)
        };
        self.send_draft(room_id, draft).await.map(drop)
    }

    /// The content of a membership event of a local user about themselves.
    pub(crate) async fn member_content(
        &self,
        user_id: &UserId,
        membership: &str,
        reason: Option<String>,
    ) -> Result<JsonObject, Error> {
        let mut content = membership_content(membership, reason);
        if self.is_local(user_id) {
            content.extend(self.member_profile(user_id).await?);
        }
        Ok(content)
    }

    async fn invite_content(&self, target: &UserId, reason: Option<String>) -> Result<JsonObject, Error> {
        self.member_content(target, "invite", reason).await
    }
}

/// The content of a membership event, without a profile.
pub(crate) fn membership_content(membership: &str, reason: Option<String>) -> JsonObject {
    let mut content = JsonObject::new();
    content.insert("membership".into(), membership.into());
    content.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    content
}
