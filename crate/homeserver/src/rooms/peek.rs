//! Reading a room without being in it. Spec: Client-Server API, section 'Room Previews'.

use ruma_common::{RoomId, UserId};

use crate::{
    Error, Homeserver,
    rooms::{
        memberships::{Leaving, UserMembership},
        view::HISTORY_VISIBILITY,
    },
};

/// As what a user reads a room.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    /// Joined.
    Member,
    /// Not joined, but everybody may read the room, and it is kept up to date here.
    Peeker,
    /// Left or was removed, which ended what they may read.
    Former(Leaving),
}

impl Homeserver {
    /// As what the user may read the room now. Which of its events they may see is for
    /// [`Homeserver::visible_events`] to say.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they may not, nobody here is in the room, or it is not known.
    pub(crate) async fn reader(&self, user_id: &UserId, room_id: &RoomId) -> Result<Reader, Error> {
        let forbidden =
            || Error::Forbidden("you are not in the room, and it is not open to everybody".into());
        let room = self.room(room_id).await?.ok_or_else(forbidden)?;
        let membership = self.user_membership(user_id, room_id);
        if membership.as_ref().is_some_and(|own| own.membership == "join") {
            return Ok(Reader::Member);
        }
        let snapshot = room.snapshot();
        let state = self.view(&snapshot, &[HISTORY_VISIBILITY]).await?;
        let is_open = state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable");
        if is_open && snapshot.members().local > 0 {
            return Ok(Reader::Peeker);
        }
        let own = membership.ok_or_else(forbidden)?;
        self.leaving(&own)
            .await?
            .map(Reader::Former)
            .ok_or_else(forbidden)
    }

    /// Checks that the user hears of what happens in the room from now on, joined or not.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they do not.
    pub(crate) async fn check_listener(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), Error> {
        match self.reader(user_id, room_id).await? {
            Reader::Member | Reader::Peeker => Ok(()),
            Reader::Former(_) => Err(Error::Forbidden("you are not in the room any more".into())),
        }
    }
}

impl UserMembership {
    /// Whether the user was joined, and has left or was removed.
    pub(crate) fn has_ended(&self) -> bool {
        self.joined_at.is_some() && matches!(self.membership.as_str(), "leave" | "ban")
    }
}
