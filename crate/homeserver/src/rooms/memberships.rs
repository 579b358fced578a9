//! Which rooms each local user has to do with: kept in memory, stored in `Table::Memberships`.
//!
//! Rows `u\0user\0room` are local users' own; rows `r\0room\0user` are everybody's in the rooms held here.
//! Rows `i\0user\0room` hold the stripped state of invites and knocks, rows `f\0user\0room` how those memberships ended that
//! were forgotten. Rows `s\0room\0server` are in `member_counts`.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{event::StoredEvent, member_rows::describes},
    stored::{from_slice, scan_all},
};

/// The membership of a local user in one room, as the user's own view of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMembership {
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The membership event, which may be one that only the invite brought.
    pub event_id: OwnedEventId,
    /// The log position at which it became so.
    pub position: u64,
    /// The log position at which the user joined last, if they ever did.
    #[serde(default)]
    pub joined_at: Option<u64>,
    /// How the user's last stay in the room ended, if they are not joined. Rows of earlier versions do not say: see
    /// [`Homeserver::leaving`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Leaving>,
    /// The server by whose help the user has knocked from outside, or that invited them from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<OwnedServerName>,
    /// Whether the event was stored for this membership alone, from outside the room: it goes when the membership does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_own_event: bool,
}

/// How a stay in a room ended: what the user may read of the room's state ends with it, whatever becomes of their
/// membership later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The membership event.
    pub event_id: OwnedEventId,
    /// The log position at which it took effect.
    pub position: u64,
}

/// The membership of any user in a room held here, as stored beside the current state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMember {
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The membership event.
    pub event_id: OwnedEventId,
}

/// The most forgotten memberships of a user whose ends are kept: of those that ended last.
const MAX_FORGOTTEN: usize = 500;

/// How many changes of a membership are followed back to the one that ended the stay.
const MAX_CHANGES: usize = 100;

/// The memberships of all local users: those that they have, or those that they have forgotten.
#[derive(Default)]
pub(crate) struct UserRooms {
    rooms: RwLock<BTreeMap<OwnedUserId, BTreeMap<OwnedRoomId, UserMembership>>>,
}

impl UserRooms {
    /// Reads them from the rows of `store` that begin with `kind`.
    pub(crate) async fn load(store: &dyn Store, kind: &[u8; 2]) -> Result<Self, Error> {
        let rows = scan_all(store, Table::Memberships, kind).await?;
        let mut rooms = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (key, value) in rows {
            let (user_id, room_id) = parse_key(&key)?;
            let membership = from_slice(&value)?;
            rooms.entry(user_id).or_default().insert(room_id, membership);
        }
        Ok(Self {
            rooms: RwLock::new(rooms),
        })
    }

    /// Shows what was committed: a new membership, or `None` for a room that was forgotten.
    pub(crate) fn publish(&self, user_id: &UserId, room_id: &RoomId, membership: Option<UserMembership>) {
        let mut users = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let rooms = users.entry(user_id.to_owned()).or_default();
        match membership {
            Some(membership) => rooms.insert(room_id.to_owned(), membership),
            None => rooms.remove(room_id),
        };
    }

    /// The rooms with a joined local user.
    pub(crate) fn all_joined(&self) -> BTreeSet<OwnedRoomId> {
        let users = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        let entries = users.values().flatten();
        let joined = entries.filter(|(_, entry)| entry.membership == "join");
        ordered::set(joined.map(|(room_id, _)| room_id.clone()))
    }

    fn read<T>(&self, user_id: &UserId, read: impl FnOnce(&BTreeMap<OwnedRoomId, UserMembership>) -> T) -> T {
        let users = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        match users.get(user_id) {
            Some(rooms) => read(rooms),
            None => read(&BTreeMap::new()),
        }
    }
}

impl Homeserver {
    /// Every room that the local user has to do with and has not forgotten, and how.
    pub fn memberships(&self, user_id: &UserId) -> BTreeMap<OwnedRoomId, UserMembership> {
        self.user_rooms.read(user_id, BTreeMap::clone)
    }

    /// `memberships` of the user, and how those ended that they have forgotten: clients that know the room may not know
    /// that.
    pub(crate) fn with_forgotten(
        &self,
        user_id: &UserId,
        mut memberships: BTreeMap<OwnedRoomId, UserMembership>,
    ) -> BTreeMap<OwnedRoomId, UserMembership> {
        for (room_id, end) in self.forgotten_rooms.read(user_id, BTreeMap::clone) {
            memberships.entry(room_id).or_insert(end);
        }
        memberships
    }

    /// The forgotten membership whose end is not kept if the user forgets one more.
    pub(crate) fn surplus_forgotten(&self, user_id: &UserId) -> Option<OwnedRoomId> {
        self.forgotten_rooms.read(user_id, |rooms| {
            let oldest = rooms.iter().min_by_key(|(_, end)| end.position);
            let surplus = oldest.filter(|_| rooms.len() >= MAX_FORGOTTEN);
            surplus.map(|(room_id, _)| room_id.clone())
        })
    }

    /// The membership of a local user in one room; `None` if they never had one or forgot it.
    pub fn user_membership(&self, user_id: &UserId, room_id: &RoomId) -> Option<UserMembership> {
        self.user_rooms.read(user_id, |rooms| rooms.get(room_id).cloned())
    }

    /// How the last stay of a user ended who has left or was removed; `None` if it is not known or they are invited
    /// again.
    pub(crate) async fn leaving(&self, own: &UserMembership) -> Result<Option<Leaving>, Error> {
        match own.has_ended() {
            true => self.last_leaving(own).await,
            false => Ok(None),
        }
    }

    /// How the user's last stay ended, also if they are invited again. What a row of an earlier version does not say is
    /// found by the events that replaced each other, of who is outside.
    pub(crate) async fn last_leaving(&self, own: &UserMembership) -> Result<Option<Leaving>, Error> {
        if own.left.is_some() || !own.has_ended() {
            return Ok(own.left.clone());
        }
        let mut event = self.stored_event(&own.event_id).await?;
        for _ in 0..MAX_CHANGES {
            let Some(later) = event else { break };
            event = match &later.decision.replaces {
                Some(replaced) => self.stored_event(replaced).await?,
                None => None,
            };
            let joined = |event: &Arc<StoredEvent>| event.content_text("membership") == Some("join");
            if event.as_ref().is_some_and(joined) {
                return Ok(later.decision.order.map(|order| Leaving {
                    event_id: later.event_id.clone(),
                    position: order.max(0).cast_unsigned(),
                }));
            }
        }
        Ok(None)
    }

    /// When a user joined the room last, and how that stay ended: what a membership from outside leaves as it is.
    pub(crate) async fn last_stay(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<(Option<u64>, Option<Leaving>), Error> {
        let Some(before) = self.user_membership(user_id, room_id) else {
            return Ok((None, None));
        };
        Ok((before.joined_at, self.last_leaving(&before).await?))
    }

    /// The rooms that the local user is joined to.
    pub fn joined_rooms(&self, user_id: &UserId) -> Vec<OwnedRoomId> {
        let joined = |(room_id, entry): (&OwnedRoomId, &UserMembership)| {
            (entry.membership == "join").then(|| room_id.clone())
        };
        self.user_rooms
            .read(user_id, |rooms| rooms.iter().filter_map(joined).collect())
    }

    /// The local users joined to a room.
    pub fn local_members(&self, room_id: &RoomId) -> Vec<OwnedUserId> {
        let users = self
            .user_rooms
            .rooms
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let joined = |rooms: &BTreeMap<OwnedRoomId, UserMembership>| {
            rooms.get(room_id).is_some_and(|entry| entry.membership == "join")
        };
        users
            .iter()
            .filter(|(_, rooms)| joined(rooms))
            .map(|(user_id, _)| user_id.clone())
            .collect()
    }

    /// At most `limit` members of a room held here, whatever their membership, in the order of their ids: those
    /// after `after`.
    pub(crate) async fn member_page(
        &self,
        room_id: &RoomId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(OwnedUserId, RoomMember)>, Error> {
        let mut range = KeyRange::prefix(members_key(room_id));
        if let Some(after) = after {
            range.start = Bound::Excluded(member_key(room_id, after));
        }
        let scan = self
            .seams
            .store
            .scan(Table::Memberships, range, Direction::Forward, limit);
        let member = |(key, value): &(Vec<u8>, Vec<u8>)| Ok((parse_member(key)?, from_slice(value)?));
        scan.await?.iter().map(member).collect()
    }

    /// The member events of those who have the given membership in a room held here.
    pub(crate) async fn members_with(
        &self,
        room_id: &RoomId,
        membership: &str,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let rows = scan_all(&*self.seams.store, Table::Memberships, &members_key(room_id)).await?;
        let rows = rows.iter().map(|(_, value)| from_slice::<RoomMember>(value));
        let rows = rows.filter(|row| row.as_ref().map_or(true, |row| row.membership == membership));
        rows.map(|row| Ok(row?.event_id)).collect()
    }

    /// The member events of at most `limit` local users joined to a room: those whose memberships are oldest.
    pub(crate) fn first_memberships(&self, room_id: &RoomId, limit: usize) -> Vec<OwnedEventId> {
        let users = self
            .user_rooms
            .rooms
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let here = users.values().filter_map(|rooms| rooms.get(room_id));
        let mut joined: Vec<_> = here.filter(|entry| entry.membership == "join").collect();
        joined.sort_by_key(|entry| entry.position);
        let first = joined.into_iter().take(limit);
        first.map(|entry| entry.event_id.clone()).collect()
    }

    /// The stripped state that came with the user's invite to the room, or with their knock, the membership event last.
    /// Nobody has checked it: of what another server sent, that alone [`describes`] the room to clients which they know.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn invite_state(&self, user_id: &UserId, room_id: &RoomId) -> Result<Vec<JsonObject>, Error> {
        let key = invite_key(user_id, room_id);
        let Some(row) = self.seams.store.get(Table::Memberships, &key).await? else {
            return Ok(Vec::new());
        };
        let mut state: Vec<JsonObject> = from_slice(&row)?;
        let own = state.pop();
        state.retain(describes);
        state.extend(own);
        Ok(state)
    }
}

/// The key of a local user's own row.
pub(crate) fn user_key(user_id: &UserId, room_id: &RoomId) -> Vec<u8> {
    key(b'u', user_id.as_str(), room_id.as_str())
}

/// The key of the end of a membership that a local user has forgotten.
pub(crate) fn forgotten_key(user_id: &UserId, room_id: &RoomId) -> Vec<u8> {
    key(b'f', user_id.as_str(), room_id.as_str())
}

/// What the keys of all members' rows of a room begin with.
pub(crate) fn members_key(room_id: &RoomId) -> Vec<u8> {
    key(b'r', room_id.as_str(), "")
}

/// The key of a member's row of a room.
pub(crate) fn member_key(room_id: &RoomId, user_id: &UserId) -> Vec<u8> {
    key(b'r', room_id.as_str(), user_id.as_str())
}

/// The key of the stripped state of an invite.
pub(crate) fn invite_key(user_id: &UserId, room_id: &RoomId) -> Vec<u8> {
    key(b'i', user_id.as_str(), room_id.as_str())
}

fn key(kind: u8, first: &str, second: &str) -> Vec<u8> {
    [&[kind, 0], first.as_bytes(), &[0], second.as_bytes()].concat()
}

/// The user of a member's row.
fn parse_member(key: &[u8]) -> Result<OwnedUserId, Error> {
    let user_id = str::from_utf8(key).ok().and_then(|key| key.rsplit('\0').next());
    let user_id = user_id.and_then(|user_id| UserId::parse(user_id).ok());
    user_id.ok_or_else(|| Error::Damaged("membership key".into()))
}

fn parse_key(key: &[u8]) -> Result<(OwnedUserId, OwnedRoomId), Error> {
    let damaged = || Error::Damaged("membership key".into());
    let text = str::from_utf8(key).map_err(|_| damaged())?;
    let mut parts = text.split('\0').skip(1);
    let (user_id, room_id) = parts.next().zip(parts.next()).ok_or_else(damaged)?;
    let user_id = UserId::parse(user_id).map_err(|_| damaged())?;
    let room_id = RoomId::parse(room_id).map_err(|_| damaged())?;
    Ok((user_id, room_id))
}
