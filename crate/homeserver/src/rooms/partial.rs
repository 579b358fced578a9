//! Rooms that were joined without their members, who come behind (MSC3706, MSC3902).
//!
//! The room's record says that its state is partial; a row of `Table::Federation` says who may be asked for the
//! rest ([`PartialJoin`]), and one row each names the events that were taken in meanwhile, in their order. All
//! are gone once the state is whole. *How* it becomes so is told in [`crate::federation::completion`] and
//! [`crate::rooms::recheck`].

use hearth_rooms::ordered;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;
use futures::future::{Either, select};
use hearth_storage::{Store, Table};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver,
    rooms::{
        change::Change,
        room::{Room, Snapshot},
    },
    stored::{from_slice, scan_all, to_vec},
};

/// How long a request waits for a state to become whole.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What a room's record says while its state is partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The join that brought the room here.
    pub join: OwnedEventId,
    /// How many events were taken in since, the join included.
    pub taken_in: u64,
}

/// Who may be asked for what a room lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartialJoin {
    /// The join that brought the room here.
    pub join: OwnedEventId,
    /// The server that helped to join.
    pub helper: OwnedServerName,
    /// The servers that were in the room, as the helper says.
    pub servers: BTreeSet<OwnedServerName>,
    /// When the room was joined, in milliseconds since the Unix epoch.
    pub began: u64,
}

/// The rooms whose state is partial, and who waits for them.
#[derive(Default)]
pub(crate) struct PartialRooms {
    rooms: Mutex<BTreeMap<OwnedRoomId, Arc<PartialJoin>>>,
    /// Held by whoever joins a room that this server is not in, or changes what its users are there from outside, or
    /// forgets it.
    joins: Mutex<HashMap<OwnedRoomId, Arc<async_lock::Mutex<()>>>>,
    /// Tells that a state has become whole, or is no more waited for.
    ended: Event,
    /// Tells that a server can be reached that was in one of the rooms.
    pub(crate) online: Event,
}

impl PartialRooms {
    /// Reads which rooms are partial.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let rooms = Self::default();
        for (key, value) in scan_all(store, Table::Federation, b"w\0").await? {
            let room_id = key.get(2..).and_then(|id| str::from_utf8(id).ok());
            let room_id = room_id.and_then(|id| RoomId::parse(id).ok());
            let room_id = room_id.ok_or_else(|| Error::Damaged("a partial room".into()))?;
            rooms.begin(&room_id, from_slice(&value)?);
        }
        Ok(rooms)
    }

    /// What is known of a partial room.
    pub(crate) fn get(&self, room_id: &RoomId) -> Option<Arc<PartialJoin>> {
        self.lock().get(room_id).cloned()
    }

    /// All partial rooms.
    pub(crate) fn all(&self) -> Vec<OwnedRoomId> {
        self.lock().keys().cloned().collect()
    }

    pub(crate) fn begin(&self, room_id: &RoomId, join: PartialJoin) {
        self.lock().insert(room_id.to_owned(), Arc::new(join));
    }

    /// The room is whole, or is left: unless it was joined anew since `join`.
    pub(crate) fn end(&self, room_id: &RoomId, join: &EventId) {
        let mut rooms = self.lock();
        if rooms.get(room_id).is_some_and(|partial| partial.join == join) {
            rooms.remove(room_id);
        }
        drop(rooms);
        self.ended.notify(usize::MAX);
    }

    /// Whether `server` was in one of the rooms.
    pub(crate) fn concern(&self, server: &ServerName) -> bool {
        self.lock()
            .values()
            .any(|partial| partial.servers.contains(server))
    }

    /// The lock of those who join the room from outside.
    pub(crate) fn joining(&self, room_id: &RoomId) -> Arc<async_lock::Mutex<()>> {
        let mut joins = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        joins.retain(|_, lock| Arc::strong_count(lock) > 1);
        joins.entry(room_id.to_owned()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, Arc<PartialJoin>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Whether the state lacks members.
    pub fn is_partial(&self) -> bool {
        self.record.partial.is_some()
    }
}

impl Homeserver {
    /// Waits until the room's state is whole, for at most 20 s.
    ///
    /// # Errors
    /// [`Error::PartialState`] if it does not become so in time, or nobody is in the room any more.
    pub(crate) async fn whole(&self, room: &Arc<Room>) -> Result<(), Error> {
        let mut timeout = self.seams.clock.sleep(LONGEST_WAIT);
        loop {
            let ended = self.partial.ended.listen();
            let snapshot = room.snapshot();
            if !snapshot.is_partial() {
                return Ok(());
            }
            if snapshot.members().local == 0 {
                return Err(Error::PartialState);
            }
            match select(ended, timeout).await {
                Either::Left(((), rest)) => timeout = rest,
                Either::Right(_) => return Err(Error::PartialState),
            }
        }
    }

    /// The servers in the room, ourselves included: while its members are not known, those that the helper named.
    pub(crate) async fn servers_in_room(
        &self,
        snapshot: &Snapshot,
    ) -> Result<BTreeSet<OwnedServerName>, Error> {
        let counted = self.servers(snapshot).await?;
        let mut servers: BTreeSet<_> = ordered::set(counted.keys().cloned());
        if snapshot.is_partial()
            && let Some(partial) = self.partial.get(&snapshot.room_id)
        {
            servers.extend(partial.servers.iter().cloned());
        }
        Ok(servers)
    }

    /// The events that were taken in since the room was joined without its members, in order.
    pub(crate) async fn taken_in(
        &self,
        room_id: &RoomId,
        join: &EventId,
    ) -> Result<Vec<(Vec<u8>, OwnedEventId)>, Error> {
        let rows = scan_all(
            &*self.seams.store,
            Table::Federation,
            &arrivals_key(room_id, join),
        )
        .await?;
        let event_id = |value: &[u8]| EventId::parse(str::from_utf8(value).ok()?).ok();
        rows.into_iter()
            .map(|(key, value)| {
                let event_id = event_id(&value).ok_or_else(|| Error::Damaged("an arrival".into()))?;
                Ok((key, event_id))
            })
            .collect()
    }
}

impl Change<'_> {
    /// Makes the state partial: it lacks members, whom `partial` says how to get.
    pub(crate) fn begin_partial(&mut self, partial: &PartialJoin) -> Result<(), Error> {
        self.snapshot.record.partial = Some(Partial {
            join: partial.join.clone(),
            taken_in: 0,
        });
        let key = partial_key(&self.snapshot.room_id);
        self.batch.put(Table::Federation, key, to_vec(partial)?);
        Ok(())
    }

    /// Notes that `event_id` is taken in, if the state is partial: it is looked at again once that is whole.
    pub(crate) fn note_taken_in(&mut self, event_id: &EventId) {
        let Some(partial) = &mut self.snapshot.record.partial else {
            return;
        };
        let mut key = arrivals_key(&self.snapshot.room_id, &partial.join);
        key.extend(partial.taken_in.to_be_bytes());
        partial.taken_in += 1;
        self.batch.put(Table::Federation, key, event_id.as_bytes());
    }
}

/// The key of a [`PartialJoin`].
pub(crate) fn partial_key(room_id: &RoomId) -> Vec<u8> {
    [b"w\0", room_id.as_bytes()].concat()
}

/// What the keys of the events begin with that were taken in since `join`.
fn arrivals_key(room_id: &RoomId, join: &EventId) -> Vec<u8> {
    [b"v\0", room_id.as_bytes(), &[0], join.as_bytes(), &[0]].concat()
}
