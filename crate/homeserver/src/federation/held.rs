//! Events that cannot be taken in yet: what came before them could not be had from the server that sent them.
//!
//! The sender is told that they have arrived, so they do not block its queue. They wait in `Table::Federation`
//! (`h\0room\0event` → [`Held`]) and are tried again, with ever longer pauses and other servers of the room as
//! well, at once when their sender comes online. What still cannot be taken in then is given up: whoever has it
//! names it, or what followed it, when heads are compared ([`crate::federation::heads`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;
use futures::future::select;
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{EventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Homeserver,
    federation::{backfill::MAX_HELPERS, received::verified},
    rooms::room::Room,
    stored::{from_slice, scan_all, to_vec},
};

/// The most events of one server that are held for one room, so that no server can take the place of others.
const MAX_OF_SERVER: usize = 50;
/// The most events that are held: with 64 KiB each some tens of megabytes.
const MAX_HELD: usize = 500;
/// How many there may be for one of a server to be held that is not known to be in the room.
const MAX_WITH_STRANGERS: usize = 250;
/// How long one server may take to help with one event. One that took longer is asked no more until the next attempt.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause before the first new attempt, in milliseconds. Each further one is as long as the youngest event of
/// the room has waited.
const FIRST_PAUSE: u64 = 10_000;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE: u64 = 600_000;
/// No new attempt is made earlier than this, whoever comes online.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// How long an event is held, in milliseconds.
const LONGEST_WAIT: u64 = 3_600_000;

/// An event that waits.
#[derive(Clone, Serialize, Deserialize)]
struct Held {
    /// Who sent it.
    origin: OwnedServerName,
    /// When it came, in milliseconds since the Unix epoch.
    since: u64,
    /// The event as it came.
    pdu: Value,
}

/// How many events wait, and whom for.
#[derive(Default)]
pub(crate) struct HeldEvents {
    rooms: Mutex<BTreeMap<OwnedRoomId, Waiting>>,
    /// Tells that one of the senders is online.
    online: Event,
}

#[derive(Default)]
struct Waiting {
    by_server: BTreeMap<OwnedServerName, usize>,
    /// Whether a task tries them again.
    active: bool,
}

impl HeldEvents {
    /// Reads what waits.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let held = Self::default();
        for (key, value) in scan_all(store, Table::Federation, b"h\0").await? {
            let room_id = room_of(&key).ok_or_else(|| Error::Damaged("a held event".into()))?;
            held.add(&room_id, &from_slice::<Held>(&value)?.origin, MAX_HELD);
        }
        Ok(held)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, Waiting>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event of `server`; `false` if there are `most`, or too many of the server.
    fn add(&self, room_id: &RoomId, server: &ServerName, most: usize) -> bool {
        let mut rooms = self.lock();
        let all: usize = rooms.values().flat_map(|room| room.by_server.values()).sum();
        let room = rooms.entry(room_id.to_owned()).or_default();
        let count = room.by_server.entry(server.to_owned()).or_default();
        let has_place = all < most && *count < MAX_OF_SERVER;
        *count += usize::from(has_place);
        has_place
    }

    /// Counts an event of `server` no more.
    fn remove(&self, room_id: &RoomId, server: &ServerName) {
        if let Some(room) = self.lock().get_mut(room_id)
            && let Some(count) = room.by_server.get_mut(server)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Notes that a task looks after the room; `false` if one does already.
    fn begin(&self, room_id: &RoomId) -> bool {
        let mut rooms = self.lock();
        let room = rooms.entry(room_id.to_owned()).or_default();
        !std::mem::replace(&mut room.active, true)
    }

    /// Ends the care for a room, unless something waits.
    fn end(&self, room_id: &RoomId) -> bool {
        let mut rooms = self.lock();
        let idle = |room: &Waiting| room.by_server.values().all(|count| *count == 0);
        let ended = rooms.get(room_id).is_none_or(idle);
        if ended {
            rooms.remove(room_id);
        }
        ended
    }

    /// `server` is online.
    pub(crate) fn peer_online(&self, server: &ServerName) {
        let concerns = |room: &Waiting| room.by_server.get(server).is_some_and(|count| *count > 0);
        if self.lock().values().any(concerns) {
            self.online.notify(usize::MAX);
        }
    }
}

impl Homeserver {
    /// Keeps an event of `origin` to be tried again later; `false` if too many wait.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn hold(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        pdu: Value,
    ) -> Result<bool, Error> {
        let key = held_key(room_id, event_id);
        if self.seams.store.get(Table::Federation, &key).await?.is_some() {
            return Ok(true);
        }
        let most = match self.servers_of(room_id).await?.contains(origin) {
            true => MAX_HELD,
            false => MAX_WITH_STRANGERS,
        };
        if !self.held.add(room_id, origin, most) {
            return Ok(false);
        }
        let origin = origin.to_owned();
        let mut batch = WriteBatch::new();
        batch.put(
            Table::Federation,
            key,
            to_vec(&Held {
                origin: origin.clone(),
                since: self.now(),
                pdu,
            })?,
        );
        if let Err(error) = self.seams.store.commit(batch).await {
            self.held.remove(room_id, &origin);
            return Err(error.into());
        }
        self.retry_held(room_id.to_owned());
        Ok(true)
    }

    /// Goes on with what was held when the homeserver was last closed.
    pub(crate) fn retry_all_held(&self) {
        let rooms: Vec<_> = self.held.lock().keys().cloned().collect();
        rooms.into_iter().for_each(|room_id| self.retry_held(room_id));
    }

    fn retry_held(&self, room_id: OwnedRoomId) {
        if !self.held.begin(&room_id) {
            return;
        }
        self.spawn(|homeserver| async move {
            let mut pause = FIRST_PAUSE;
            while !homeserver.held.end(&room_id) {
                homeserver.pause_for_sender(Duration::from_millis(pause)).await;
                pause = match homeserver.retry_room(&room_id).await {
                    Ok(youngest) => homeserver.now().saturating_sub(youngest),
                    Err(error) => {
                        tracing::error!(%room_id, %error, "held events cannot be read");
                        LONGEST_PAUSE
                    }
                };
                pause = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
            }
        });
    }

    async fn pause_for_sender(&self, pause: Duration) {
        let online = self.held.online.listen();
        self.seams.clock.sleep(LEAST_PAUSE).await;
        select(online, self.seams.clock.sleep(pause - LEAST_PAUSE)).await;
    }

    /// Tries all events again that are held for a room, and gives up those that were held for too long. Returns
    /// when the youngest that is left came.
    async fn retry_room(&self, room_id: &RoomId) -> Result<u64, Error> {
        let room = self.resident_room(room_id).await?;
        let (mut youngest, mut slow) = (0, BTreeSet::new());
        for (key, value) in scan_all(&*self.seams.store, Table::Federation, &room_key(room_id)).await? {
            let held: Held = from_slice(&value)?;
            let (origin, since) = (held.origin.clone(), held.since);
            let is_settled = match &room {
                Some(room) => self.retry(room, held, &mut slow).await?,
                None => true,
            };
            if !is_settled && self.now().saturating_sub(since) < LONGEST_WAIT {
                youngest = youngest.max(since);
                continue;
            }
            if !is_settled {
                tracing::warn!(%origin, %room_id, "an event is given up whose past cannot be had");
            }
            let mut batch = WriteBatch::new();
            batch.delete(Table::Federation, key);
            self.seams.store.commit(batch).await?;
            self.held.remove(room_id, &origin);
        }
        Ok(youngest)
    }

    /// Tries an event again with the help of its sender, and then of others, but not of those that are `slow`. Whether
    /// it is settled.
    async fn retry(
        &self,
        room: &Arc<Room>,
        held: Held,
        slow: &mut BTreeSet<OwnedServerName>,
    ) -> Result<bool, Error> {
        let Ok(pdu) = verified(room.snapshot().version(), held.pdu) else {
            return Ok(true);
        };
        let mut servers = self
            .helpers(room, std::slice::from_ref(&held.origin), MAX_HELPERS)
            .await?;
        servers.retain(|server| *server != held.origin);
        for server in [held.origin].into_iter().chain(servers) {
            if slow.contains(&server) {
                continue;
            }
            let mut gaps = self.gaps(1, PATIENCE);
            match self.take_in(&server, room, pdu.clone(), &mut gaps).await {
                Ok(_) => return Ok(true),
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => tracing::info!(%server, %error, "a held event has to wait on"),
            }
            if gaps.are_over(self.now()) {
                slow.insert(server);
            }
        }
        Ok(false)
    }
}

fn room_key(room_id: &RoomId) -> Vec<u8> {
    [b"h\0", room_id.as_bytes(), &[0]].concat()
}

fn held_key(room_id: &RoomId, event_id: &EventId) -> Vec<u8> {
    [room_key(room_id), event_id.as_bytes().to_vec()].concat()
}

/// The room of a held event's key.
fn room_of(key: &[u8]) -> Option<OwnedRoomId> {
    let key = str::from_utf8(key.get(2..)?).ok()?;
    RoomId::parse(key.split('\0').next()?).ok()
}
