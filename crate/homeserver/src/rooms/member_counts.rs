//! How many members a room has, and of which servers. Kept beside the state, because counting them would cost
//! the room's size.
//!
//! The counts are part of the room's record. Rows `s\0room\0server` of `Table::Memberships` hold the number of
//! joined members of each server that has any; they are read once and then carried from snapshot to snapshot.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_storage::Table;
use ruma_common::{OwnedServerName, RoomId, ServerName};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver,
    ordered::try_map,
    rooms::room::Snapshot,
    stored::{from_slice, scan_all},
};

/// How many members a room has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounts {
    /// Users that are joined.
    #[serde(rename = "j")]
    pub joined: u64,
    /// Users that are invited.
    #[serde(rename = "i")]
    pub invited: u64,
    /// Users of this server that are joined.
    #[serde(rename = "l")]
    pub local: u64,
    /// Member events of any kind.
    #[serde(rename = "a")]
    pub all: u64,
}

/// How many members of each server are joined. Servers without any are not in it.
pub type ServerCounts = BTreeMap<OwnedServerName, u64>;

impl MemberCounts {
    /// Counts a member who has `membership`.
    pub(crate) fn add(&mut self, membership: &str, is_local: bool) {
        self.all += 1;
        match membership {
            "join" => {
                self.joined += 1;
                self.local += u64::from(is_local);
            }
            "invite" => self.invited += 1,
            _ => (),
        }
    }

    /// Counts a member no more who had `membership`.
    pub(crate) fn remove(&mut self, membership: &str, is_local: bool) {
        let less = |count: &mut u64, by: bool| *count = count.saturating_sub(u64::from(by));
        less(&mut self.all, true);
        less(&mut self.joined, membership == "join");
        less(&mut self.local, membership == "join" && is_local);
        less(&mut self.invited, membership == "invite");
    }
}

impl Homeserver {
    /// The servers with a joined member, and how many.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn servers(&self, snapshot: &Snapshot) -> Result<Arc<ServerCounts>, Error> {
        if let Some(servers) = snapshot.servers.get() {
            return Ok(servers.clone());
        }
        // Whoever changes the room reads them before that, from the snapshot that it begins with. So what is
        // read while a change is being committed, which may be its outcome, is not carried on.
        let servers = Arc::new(self.read_servers(&snapshot.room_id).await?);
        Ok(snapshot.servers.get_or_init(|| servers).clone())
    }

    /// The servers in a room that is held here. Rooms that are not in memory are not read for it.
    pub(crate) async fn servers_of(&self, room_id: &RoomId) -> Result<BTreeSet<OwnedServerName>, Error> {
        if !self.is_in_memory(room_id) {
            let servers = self.read_servers(room_id).await?;
            // A room without any has not been counted yet.
            if !servers.is_empty() {
                return Ok(ordered::set(servers.into_keys()));
            }
        }
        match self.room(room_id).await? {
            Some(room) => self.servers_in_room(&room.snapshot()).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// Whether `server` is in a room that is held here.
    pub(crate) async fn has_server(&self, room_id: &RoomId, server: &ServerName) -> Result<bool, Error> {
        Ok(self.servers_of(room_id).await?.contains(server))
    }

    async fn read_servers(&self, room_id: &RoomId) -> Result<ServerCounts, Error> {
        let prefix = servers_key(room_id);
        let rows = scan_all(&*self.seams.store, Table::Memberships, &prefix).await?;
        let row = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let name = key.get(prefix.len()..).and_then(|name| str::from_utf8(name).ok());
            let name = name.and_then(|name| ServerName::parse(name).ok());
            let name = name.ok_or_else(|| Error::Damaged("a server of a room".into()))?;
            Ok((name, from_slice(value)?))
        };
        try_map(rows.iter().map(row))
    }

    /// The servers in the room but ourselves and `except`.
    pub(crate) async fn others(
        &self,
        snapshot: &Snapshot,
        except: &ServerName,
    ) -> Result<BTreeSet<OwnedServerName>, Error> {
        let mut servers = self.servers_in_room(snapshot).await?;
        servers.retain(|server| *server != except && *server != self.server_name());
        Ok(servers)
    }
}

/// What the keys of a room's servers begin with.
fn servers_key(room_id: &RoomId) -> Vec<u8> {
    [b"s\0", room_id.as_bytes(), &[0]].concat()
}

/// The key of one server of a room.
pub(crate) fn server_key(room_id: &RoomId, server: &ServerName) -> Vec<u8> {
    [&*servers_key(room_id), server.as_bytes()].concat()
}
