//! Who shares a room with whom: those are the users who hear of each other's devices.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use hearth_storage::Table;
use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};

use crate::{
    Error, Homeserver,
    rooms::memberships::{RoomMember, member_key},
    stored::from_slice,
};

/// How many members are read at once.
const PAGE: usize = 1024;
/// For more users than this, all members of a room are read in place of theirs.
const MAX_LOOKED_UP: usize = 500;

impl Homeserver {
    /// Whether the local user `user_id` is in a room with `other`, who may be of any server.
    pub(crate) async fn shares_room(&self, user_id: &UserId, other: &UserId) -> Result<bool, Error> {
        let rooms = self.joined_rooms(user_id);
        if self.is_local(other) {
            let others: BTreeSet<_> = ordered::set(self.joined_rooms(other));
            return Ok(rooms.iter().any(|room_id| others.contains(room_id)));
        }
        Ok(!self.shared_among(other, rooms).await?.is_empty())
    }

    /// Those of `others` who are in a room with the local user `user_id`. Each room is read at most once, however
    /// many they are.
    pub(super) async fn those_sharing(
        &self,
        user_id: &UserId,
        others: &BTreeSet<OwnedUserId>,
    ) -> Result<BTreeSet<OwnedUserId>, Error> {
        let mut rest: Vec<OwnedUserId> = others.iter().cloned().collect();
        let mut found = BTreeSet::new();
        for room_id in self.joined_rooms(user_id) {
            if rest.is_empty() {
                break;
            }
            let (present, absent) = self.parted_by_room(&room_id, rest).await?;
            found.extend(present);
            rest = absent;
        }
        Ok(found)
    }

    /// Parts `users` into those who are in the room and those who are not.
    async fn parted_by_room(
        &self,
        room_id: &RoomId,
        users: Vec<OwnedUserId>,
    ) -> Result<(Vec<OwnedUserId>, Vec<OwnedUserId>), Error> {
        if users.len() > MAX_LOOKED_UP {
            let joined: BTreeSet<_> = ordered::set(self.joined_users(room_id).await?);
            return Ok(users.into_iter().partition(|user| joined.contains(user)));
        }
        let keys: Vec<_> = users.iter().map(|user| member_key(room_id, user)).collect();
        let rows = self.seams.store.get_many(Table::Memberships, &keys).await?;
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for (user, row) in users.into_iter().zip(rows) {
            let member = row.map(|row| from_slice::<RoomMember>(&row)).transpose()?;
            match member {
                Some(member) if member.membership == "join" => present.push(user),
                _ => absent.push(user),
            }
        }
        Ok((present, absent))
    }

    /// Whether any local user is in a room with `other`.
    pub(crate) async fn is_known_user(&self, other: &UserId) -> Result<bool, Error> {
        let rooms = self.user_rooms.all_joined().into_iter().collect();
        Ok(!self.shared_among(other, rooms).await?.is_empty())
    }

    /// Whether this server has been in a room with `other` without a break since the log position `since`: then it
    /// has been told of whatever happened to the devices of `other` after that.
    pub(super) async fn is_known_since(&self, other: &UserId, since: u64) -> Result<bool, Error> {
        let rooms = self.user_rooms.all_joined().into_iter();
        let long_held = rooms.filter(|room_id| self.own_since(room_id) <= since).collect();
        for (_, member) in self.shared_among(other, long_held).await? {
            let event = self.stored_event(&member.event_id).await?;
            let joined = event.and_then(|event| event.decision.order).unwrap_or_default();
            if joined.max(0).cast_unsigned() <= since {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The position at which the first of the local users joined who are in the room.
    fn own_since(&self, room_id: &RoomId) -> u64 {
        let locals = self.local_members(room_id).into_iter();
        let joined = locals.filter_map(|user_id| self.user_membership(&user_id, room_id)?.joined_at);
        joined.min().unwrap_or(u64::MAX)
    }

    /// Those of `rooms` that `user_id` is in.
    async fn shared_among(
        &self,
        user_id: &UserId,
        rooms: Vec<OwnedRoomId>,
    ) -> Result<Vec<(OwnedRoomId, RoomMember)>, Error> {
        let keys: Vec<_> = rooms.iter().map(|room_id| member_key(room_id, user_id)).collect();
        let rows = self.seams.store.get_many(Table::Memberships, &keys).await?;
        let mut found = Vec::new();
        for (room_id, row) in rooms.into_iter().zip(rows) {
            let member = row.map(|row| from_slice::<RoomMember>(&row)).transpose()?;
            found.extend(
                member
                    .filter(|member| member.membership == "join")
                    .map(|member| (room_id, member)),
            );
        }
        Ok(found)
    }

    /// The users who are in a room now.
    pub(super) async fn joined_users(&self, room_id: &RoomId) -> Result<Vec<OwnedUserId>, Error> {
        let mut users = Vec::new();
        let mut after: Option<OwnedUserId> = None;
        loop {
            let page = self.member_page(room_id, after.as_deref(), PAGE).await?;
            after = page.last().map(|(user_id, _)| user_id.clone());
            let is_last = page.len() < PAGE;
            let joined = page.into_iter().filter(|(_, member)| member.membership == "join");
            users.extend(joined.map(|(user_id, _)| user_id));
            if is_last {
                return Ok(users);
            }
        }
    }

    /// Everybody who is in a room with the local user.
    pub(super) async fn users_sharing(&self, user_id: &UserId) -> Result<BTreeSet<OwnedUserId>, Error> {
        let mut users = BTreeSet::new();
        for room_id in self.joined_rooms(user_id) {
            users.extend(self.joined_users(&room_id).await?);
        }
        Ok(users)
    }

    /// The other servers with somebody in a room with the local user.
    pub(crate) async fn servers_sharing(&self, user_id: &UserId) -> Result<BTreeSet<OwnedServerName>, Error> {
        let mut servers = BTreeSet::new();
        for room_id in self.joined_rooms(user_id) {
            if let Some(room) = self.room(&room_id).await? {
                servers.extend(self.servers_in_room(&room.snapshot()).await?);
            }
        }
        servers.remove(self.server_name());
        Ok(servers)
    }
}
