//! Joining, inviting, leaving, kicking, banning. Spec: Client-Server API, section 'Room membership'.

use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, UserId};

use crate::{Error, Homeserver};

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
        todo!()
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
        todo!()
    }

    /// Leaves a room or rejects an invite. An invite is rejected here even if its server cannot be reached.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is neither in the room nor invited.
    pub async fn leave_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        todo!()
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
        todo!()
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
        todo!()
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
        todo!()
    }

    /// Forgets a room that the user has left: it is no longer listed, and its history is no longer shown.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is still in the room, [`Error::NotFound`] if they never were.
    pub async fn forget_room(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), Error> {
        todo!()
    }

    /// Puts the user's present profile into their membership of every room that they are in. Called when the
    /// profile has changed; rooms that refuse it are left as they are.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn publish_profile(&self, user_id: &UserId) -> Result<(), Error> {
        todo!()
    }
}
