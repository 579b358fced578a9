//! Room aliases. Spec: Client-Server API, section 'Room aliases'.

use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, UserId};

use crate::{Error, Homeserver};

impl Homeserver {
    /// Makes `alias` (of this server) mean `room_id`.
    ///
    /// # Errors
    /// [`Error::RoomInUse`] if it is taken, [`Error::Forbidden`] if the user is not in the room,
    /// [`Error::InvalidParam`] if it is another server's.
    pub async fn set_alias(
        &self,
        user_id: &UserId,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), Error> {
        todo!()
    }

    /// Removes `alias`. Its creator and whoever may set the room's canonical alias may do so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn remove_alias(&self, user_id: &UserId, alias: &RoomAliasId) -> Result<(), Error> {
        todo!()
    }

    /// What `alias` means, asking its server if that is another one: the room and servers that are in it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it means nothing, or its server cannot be reached.
    pub async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        todo!()
    }

    /// What an alias of this server means.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it means nothing.
    pub async fn local_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        todo!()
    }

    /// This server's aliases of a room.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room and it is not world-readable.
    pub async fn room_aliases(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, Error> {
        todo!()
    }
}
