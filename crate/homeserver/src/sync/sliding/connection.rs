//! What each connection has been told: of which rooms, and how much.
//!
//! Where the log, typing and presence have got to is in the position itself. What does not fit there, [`Known`], is
//! kept under a generation that the position names, in memory and in the store: so a connection goes on
//! after a restart. A client may repeat its last request, so the generation that it names stays until it names a
//! later one. A position whose generation is gone is an unknown position, and the client begins anew.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_storage::{StoreError, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{super::SyncToken, request::RoomConfig};
use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `S\0user\0device\0connection` of `Table::Accounts`.
const ROW: &str = "S";
/// The most connections of one device that are stored.
const MAX_CONNECTIONS: usize = 10;
/// The most connections that are kept in memory. One may have some hundred KiB.
const MAX_KEPT: usize = 100;
/// How many generations of a connection are kept: the one that its client has shown to hold, and the newest.
const MAX_GENERATIONS: usize = 3;

/// What names a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConnectionId {
    pub(super) user_id: OwnedUserId,
    pub(super) device_id: OwnedDeviceId,
    pub(super) name: String,
}

/// A position: a generation, and how far the rest has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) generation: u64,
    pub(super) token: SyncToken,
}

/// What a client knows, and what it goes on asking for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// By room.
    #[serde(rename = "r")]
    pub(super) rooms: BTreeMap<OwnedRoomId, Sent>,
    /// The single rooms that it has asked for.
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) subscriptions: BTreeMap<OwnedRoomId, RoomConfig>,
}

/// What a client has been told of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The log position up to which it has been told everything, if that is not all up to now.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(super) upto: Option<u64>,
    /// Whether the state has changed without an event since `upto`.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) state: bool,
    /// The most events of the timeline that it was told with.
    #[serde(rename = "l")]
    pub(super) limit: u64,
    /// A number for the state that was asked for.
    #[serde(rename = "s")]
    pub(super) required: u64,
}

/// A connection, as it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Connection {
    /// Generations with what was known then, oldest first.
    #[serde(rename = "g", with = "generations")]
    generations: Vec<(u64, Arc<Known>)>,
}

mod generations {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Known;

    pub(super) fn serialize<S: Serializer>(
        generations: &[(u64, Arc<Known>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let plain: Vec<_> = generations
            .iter()
            .map(|(generation, known)| (generation, &**known))
            .collect();
        plain.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(u64, Arc<Known>)>, D::Error> {
        let plain = Vec::<(u64, Known)>::deserialize(deserializer)?;
        let shared = plain
            .into_iter()
            .map(|(generation, known)| (generation, Arc::new(known)));
        Ok(shared.collect())
    }
}

/// The connections that are in memory.
#[derive(Default)]
pub(crate) struct Connections {
    kept: Mutex<HashMap<ConnectionId, Connection>>,
}

impl Connections {
    fn kept(&self) -> MutexGuard<'_, HashMap<ConnectionId, Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, with room for `id`.
    fn with_room_for(&self, id: &ConnectionId) -> MutexGuard<'_, HashMap<ConnectionId, Connection>> {
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT && !kept.contains_key(id) {
            kept.clear();
        }
        kept
    }
}

impl Homeserver {
    /// What the client knew at `position`.
    ///
    /// # Errors
    /// [`Error::UnknownPos`] if that is forgotten.
    pub(super) async fn known_at(&self, id: &ConnectionId, position: Position) -> Result<Arc<Known>, Error> {
        let mut known = self.connection(id).await?.generations.into_iter();
        let known = known.find(|(generation, _)| *generation == position.generation);
        known.map(|(_, known)| known).ok_or(Error::UnknownPos)
    }

    /// The connection as it is in memory or, if it is not any more, in the store.
    async fn connection(&self, id: &ConnectionId) -> Result<Connection, Error> {
        let kept = self.sliding.connections.kept().get(id).cloned();
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let row = self.seams.store.get(Table::Accounts, &id.row()).await?;
        let connection: Connection = row.map_or(Ok(Connection::default()), |row| from_slice(&row))?;
        let mut kept = self.sliding.connections.with_room_for(id);
        Ok(kept.entry(id.clone()).or_insert(connection).clone())
    }

    /// Stores what the client will know. Returns its generation. `base` is the generation that it went by, `None`
    /// for a new connection: that stays, however many answers are lost.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn keep_known(
        &self,
        id: &ConnectionId,
        base: Option<u64>,
        known: Known,
    ) -> Result<u64, Error> {
        let mut batch = WriteBatch::new();
        if base.is_none() {
            self.forget_surplus(id, &mut batch).await?;
        }
        // Others may have taken its place in memory while the client waited.
        let stored = self.connection(id).await?;
        let (generation, connection) = {
            let mut kept = self.sliding.connections.with_room_for(id);
            let connection = kept.entry(id.clone()).or_insert(stored);
            let last = connection
                .generations
                .last()
                .map_or(0, |(generation, _)| *generation);
            // It follows the clock, so that no two beginnings of a connection share one.
            let generation = self.now().max(last + 1);
            connection
                .generations
                .retain(|(other, _)| base.is_some_and(|base| *other >= base));
            if connection.generations.len() == MAX_GENERATIONS {
                connection.generations.remove(1);
            }
            connection.generations.push((generation, Arc::new(known)));
            (generation, connection.clone())
        };
        batch.put(Table::Accounts, id.row(), to_vec(&connection)?);
        match self.seams.store.commit(batch).await {
            // Memory has it; after a restart the client begins anew, and until then it can read.
            Ok(()) | Err(StoreError::Full) => Ok(generation),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes room for a new connection of a device.
    async fn forget_surplus(&self, id: &ConnectionId, batch: &mut WriteBatch) -> Result<(), Error> {
        let prefix = rows_of(&id.user_id, &id.device_id);
        let mut others = Vec::new();
        for (key, row) in scan_all(&*self.seams.store, Table::Accounts, &prefix).await? {
            let connection: Connection = from_slice(&row)?;
            let newest = connection
                .generations
                .last()
                .map_or(0, |(generation, _)| *generation);
            if key != id.row() {
                others.push((newest, key));
            }
        }
        others.sort_unstable();
        let surplus = (others.len() + 1).saturating_sub(MAX_CONNECTIONS);
        for (_, key) in others.into_iter().take(surplus) {
            self.sliding.connections.kept().retain(|id, _| id.row() != key);
            batch.delete(Table::Accounts, key);
        }
        Ok(())
    }

    /// Forgets the connections of a device, with `batch`.
    pub(crate) async fn forget_connections(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Error> {
        let is_of = |id: &ConnectionId| id.user_id == user_id && id.device_id == device_id;
        self.sliding.connections.kept().retain(|id, _| !is_of(id));
        for (key, _) in scan_all(&*self.seams.store, Table::Accounts, &rows_of(user_id, device_id)).await? {
            batch.delete(Table::Accounts, key);
        }
        Ok(())
    }
}

impl ConnectionId {
    fn row(&self) -> Vec<u8> {
        [
            rows_of(&self.user_id, &self.device_id).as_slice(),
            self.name.as_bytes(),
        ]
        .concat()
    }
}

fn rows_of(user_id: &UserId, device_id: &DeviceId) -> Vec<u8> {
    [ROW, user_id.as_str(), device_id.as_str(), ""]
        .join("\0")
        .into_bytes()
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.generation, self.token)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(pos: &str) -> Result<Self, Error> {
        let parse = || {
            let (generation, token) = pos.split_once('-')?;
            Some(Self {
                generation: generation.parse().ok()?,
                token: token.parse().ok()?,
            })
        };
        parse().ok_or(Error::UnknownPos)
    }
}
