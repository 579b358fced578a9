//! What is to be sent to each server: queues, transactions and back-off.

use std::{collections::BTreeSet, sync::Mutex};

use hearth_storage::Store;
use ruma_common::{OwnedServerName, RoomId, ServerName};

use crate::{Error, Homeserver, JsonObject};

/// The queues of all destinations.
#[derive(Default)]
pub(crate) struct Outbox {
    destinations: Mutex<()>,
}

impl Outbox {
    /// Reads what is still queued.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        todo!()
    }
}

impl Homeserver {
    /// Starts sending what is queued.
    pub(crate) fn start_senders(&self) {
        todo!()
    }

    /// `server` can be reached (again): forgets its back-off and sends it what is queued.
    pub fn peer_online(&self, server: &ServerName) {
        todo!()
    }

    /// The other servers that share a room with a local user.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn known_servers(&self) -> Result<BTreeSet<OwnedServerName>, Error> {
        todo!()
    }

    /// Sends an EDU to every other server that has a joined member in the room. An EDU that waits with the same
    /// `kind` and `key` for the same server is replaced. EDUs do not survive a restart.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn send_edu(
        &self,
        room_id: &RoomId,
        kind: &str,
        key: &str,
        content: JsonObject,
    ) -> Result<(), Error> {
        todo!()
    }
}
