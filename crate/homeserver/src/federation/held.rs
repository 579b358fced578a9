//! Events that cannot be taken in yet: what came before them could not be had from the server that sent them.
//!
//! The sender is told that they have arrived, so they do not block its queue. They wait in `Table::Federation`
//! (`h\0room\0event` → [`Held`]; a stranger's name follows) and are tried again, with ever longer pauses and the help of
//! other servers of the room, each time of others. When their sender comes online it is asked at once, but nobody else.
//! What still cannot be taken in then is given up: whoever has it names it, or what followed it, when heads are
//! compared ([`crate::federation::heads`]).
//!
//! A stranger, a server that is not known to be in the room, may be there all the same: whoever let it in went away
//! before they told of it. Or it was, in a branch of the room that came to nothing. So each time that a room's events
//! are tried again, one event of one stranger has its turn: it is asked what came before that and, if the event shows
//! that its author joined the room once, others are. Nobody is asked for any more on a stranger's account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::{Event, EventListener};
use futures::{channel::oneshot, future::select};
use hearth_rooms::Pdu;
use hearth_storage::{Store, StoreError, Table, WriteBatch};
use ruma_common::{EventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Homeserver,
    federation::{
        acl::is_denied,
        backfill::MAX_HELPERS,
        received::{to_value, verified},
    },
    rooms::{
        room::Room,
        view::{SERVER_ACL, member},
    },
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
/// The same for a stranger: whoever fills gaps in the room waits for it.
const PATIENCE_WITH_STRANGERS: Duration = Duration::from_secs(20);
/// The pause before the first new attempt, in milliseconds. Each further one is as long as the youngest event of
/// the room has waited; of those of strangers, who may send new ones all the time, the oldest counts.
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
    /// Whether that was a stranger then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_stranger: bool,
    /// When it came, in milliseconds since the Unix epoch.
    since: u64,
    /// The event, without the `unsigned` that it came with, which may be of any size.
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
    by_server: BTreeMap<OwnedServerName, Sender>,
    /// Whether a task tries them again.
    active: bool,
}

/// A server whose events wait for a room.
#[derive(Default)]
struct Sender {
    /// How many do: not 0.
    count: usize,
    /// Whether it was a stranger when the last of them came or was tried again, and has not come in since.
    is_stranger: bool,
    /// Whether it has come online since they were tried last.
    is_online: bool,
}

impl HeldEvents {
    /// Reads what waits.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let held = Self::default();
        for (key, value) in scan_all(store, Table::Federation, b"h\0").await? {
            let room_id = room_of(&key).ok_or_else(|| Error::Damaged("a held event".into()))?;
            let event: Held = from_slice(&value)?;
            held.add(&room_id, &event.origin, event.is_stranger, MAX_HELD);
        }
        Ok(held)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OwnedRoomId, Waiting>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event of `server`; `false` if there are `most`, or too many of the server.
    fn add(&self, room_id: &RoomId, server: &ServerName, is_stranger: bool, most: usize) -> bool {
        let mut rooms = self.lock();
        let senders = rooms.values().flat_map(|room| room.by_server.values());
        let all: usize = senders.map(|sender| sender.count).sum();
        let sender = rooms.get(room_id).and_then(|room| room.by_server.get(server));
        if all >= most || sender.is_some_and(|sender| sender.count >= MAX_OF_SERVER) {
            return false;
        }
        let room = rooms.entry(room_id.to_owned()).or_default();
        let sender = room.by_server.entry(server.to_owned()).or_default();
        sender.count += 1;
        sender.is_stranger = is_stranger;
        true
    }

    /// Counts an event of `server` no more.
    fn remove(&self, room_id: &RoomId, server: &ServerName) {
        if let Some(room) = self.lock().get_mut(room_id)
            && let Some(sender) = room.by_server.get_mut(server)
        {
            sender.count -= 1;
            if sender.count == 0 {
                room.by_server.remove(server);
            }
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
        let ended = rooms.get(room_id).is_none_or(|room| room.by_server.is_empty());
        if ended {
            rooms.remove(room_id);
        }
        ended
    }

    /// Notes who are strangers by now in a room of `members`. Returns one of those, and the number of one of its
    /// events, whichever `number` says.
    fn turn(
        &self,
        room_id: &RoomId,
        members: &BTreeSet<OwnedServerName>,
        number: u64,
    ) -> Option<(OwnedServerName, u64)> {
        let mut rooms = self.lock();
        let mut strangers = Vec::new();
        for (server, sender) in &mut rooms.get_mut(room_id)?.by_server {
            sender.is_stranger = !members.contains(server);
            strangers.extend(sender.is_stranger.then_some((server, sender.count as u64)));
        }
        let count = strangers.len() as u64;
        let index = number.checked_rem(count)?;
        let (server, events) = strangers.get(usize::try_from(index).ok()?)?;
        Some(((*server).clone(), (number / count).checked_rem(*events)?))
    }

    /// `server` is online. What strangers do makes nobody try again.
    pub(crate) fn peer_online(&self, server: &ServerName) {
        let mut rooms = self.lock();
        let senders = rooms
            .values_mut()
            .filter_map(|room| room.by_server.get_mut(server));
        for sender in senders.filter(|sender| !sender.is_stranger) {
            sender.is_online = true;
            self.online.notify(usize::MAX);
        }
    }

    /// `server` has come into the room: what it said before that was known here can be tried again.
    pub(crate) fn let_in(&self, room_id: &RoomId, server: &ServerName) {
        if let Some(room) = self.lock().get_mut(room_id)
            && let Some(sender) = room.by_server.get_mut(server)
        {
            (sender.is_stranger, sender.is_online) = (false, true);
            self.online.notify(usize::MAX);
        }
    }

    /// Those whose events wait for a room and who came online since they were asked for last.
    fn take_online(&self, room_id: &RoomId) -> Vec<OwnedServerName> {
        let mut rooms = self.lock();
        let senders = rooms
            .get_mut(room_id)
            .into_iter()
            .flat_map(|room| &mut room.by_server);
        let online = senders.filter_map(|(server, sender)| {
            let is_online = std::mem::take(&mut sender.is_online);
            is_online.then(|| server.clone())
        });
        online.collect()
    }
}

impl Homeserver {
    /// Keeps an event of `origin` to be tried again later; `false` if too many wait.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn hold(&self, origin: &ServerName, pdu: &Pdu) -> Result<bool, Error> {
        let room_id = pdu.room_id();
        let is_stranger = !self.has_server(room_id, origin).await?;
        let mut key = held_key(room_id, pdu.event_id());
        if is_stranger {
            // What it passes on does not keep out what a member sends, which is tried with more help.
            key.push(0);
            key.extend(origin.as_bytes());
        }
        if self.seams.store.get(Table::Federation, &key).await?.is_some() {
            return Ok(true);
        }
        let held = Held {
            origin: origin.to_owned(),
            is_stranger,
            since: self.now(),
            pdu: to_value(pdu)?,
        };
        let mut batch = WriteBatch::new();
        batch.insert(Table::Federation, key, to_vec(&held)?);
        let most = if is_stranger { MAX_WITH_STRANGERS } else { MAX_HELD };
        if !self.held.add(room_id, origin, is_stranger, most) {
            return Ok(false);
        }
        let (room_id, (done, outcome)) = (room_id.to_owned(), oneshot::channel());
        // A task of its own, because whoever sends the event may go away meanwhile.
        self.spawn(|homeserver| async move {
            let stored = homeserver.seams.store.commit(batch).await;
            match stored {
                Ok(()) => homeserver.retry_held(room_id),
                Err(_) => homeserver.held.remove(&room_id, &held.origin),
            }
            // Nobody may be waiting any more.
            let _ = done.send(stored);
        });
        match outcome.await {
            // Somebody else was just holding it.
            Ok(Ok(()) | Err(StoreError::Exists)) => Ok(true),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Damaged("closing".into())),
        }
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
            let (mut due, mut round) = (homeserver.now().saturating_add(FIRST_PAUSE), 0);
            let mut online = homeserver.held.online.listen();
            while !homeserver.held.end(&room_id) {
                homeserver.pause_for_sender(online, due).await;
                online = homeserver.held.online.listen();
                let is_due = homeserver.now() >= due;
                let senders = homeserver.held.take_online(&room_id);
                if !is_due && senders.is_empty() {
                    continue;
                }
                let round_due = is_due.then_some(round);
                let pause = match homeserver.retry_room(&room_id, round_due, &senders).await {
                    Ok(pause) => pause.clamp(FIRST_PAUSE, LONGEST_PAUSE),
                    Err(error) => {
                        tracing::error!(%room_id, %error, "held events cannot be read");
                        LONGEST_PAUSE
                    }
                };
                let next = homeserver.now().saturating_add(pause);
                due = if is_due { next } else { due.min(next) };
                round += usize::from(is_due);
            }
        });
    }

    async fn pause_for_sender(&self, online: EventListener, due: u64) {
        self.seams.clock.sleep(LEAST_PAUSE).await;
        let rest = Duration::from_millis(due.saturating_sub(self.now()));
        select(online, self.seams.clock.sleep(rest)).await;
    }

    /// Tries all events again that are held for a room, for the `round`-th time, and gives up those that were held for
    /// too long. Without a round it is only those of `online`, and nobody but these servers is asked. Returns for how
    /// long, in milliseconds, those that are left may wait.
    async fn retry_room(
        &self,
        room_id: &RoomId,
        round: Option<usize>,
        online: &[OwnedServerName],
    ) -> Result<u64, Error> {
        let room = self.resident_room(room_id).await?;
        let (mut youngest, mut oldest, mut slow) = (LONGEST_PAUSE, None, BTreeSet::new());
        let members = self.servers_of(room_id).await?;
        let number = round.map(|_| self.random_number());
        let mut turn = number.and_then(|number| self.held.turn(room_id, &members, number));
        for (key, value) in scan_all(&*self.seams.store, Table::Federation, &room_key(room_id)).await? {
            let held: Held = from_slice(&value)?;
            let (origin, since) = (held.origin.clone(), held.since);
            let mut has_turn = false;
            if let Some((_, before)) = turn.as_mut().filter(|(server, _)| *server == origin) {
                has_turn = *before == 0;
                *before = before.wrapping_sub(1);
            }
            let is_settled = match &room {
                Some(_) if round.is_none() && !online.contains(&origin) => false,
                Some(room) => self.retry(room, held, round, &mut slow, has_turn).await?,
                None => true,
            };
            let age = self.now().saturating_sub(since);
            if !is_settled && age < LONGEST_WAIT {
                match members.contains(&origin) {
                    true => youngest = youngest.min(age),
                    false => oldest = oldest.max(Some(age)),
                }
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
        Ok(youngest.min(oldest.unwrap_or(LONGEST_PAUSE)))
    }

    /// Tries an event again with the help of its sender and then, in a `round`, of others, which are others each time, but
    /// not of those that are `slow`. If its sender is a stranger, anybody is asked only if it `has_turn`. Whether the
    /// event is settled.
    async fn retry(
        &self,
        room: &Arc<Room>,
        held: Held,
        round: Option<usize>,
        slow: &mut BTreeSet<OwnedServerName>,
        has_turn: bool,
    ) -> Result<bool, Error> {
        let Ok(pdu) = verified(room.snapshot().version(), held.pdu) else {
            return Ok(true);
        };
        let is_member = self.has_server(&room.room_id, &held.origin).await?;
        if !is_member && self.is_kept_out(room, &held.origin, &pdu).await? {
            return Ok(true);
        }
        let patience = match is_member {
            true => PATIENCE,
            false => PATIENCE_WITH_STRANGERS,
        };
        let mut servers = vec![held.origin.clone()];
        if let Some(round) = round.filter(|_| is_member || has_turn) {
            // Everybody was asked after half as many rounds as there are others.
            let turn = round.wrapping_mul(MAX_HELPERS - 1);
            let helpers = self.helpers(room, &servers, turn, MAX_HELPERS).await?;
            servers.extend(helpers.into_iter().filter(|server| *server != held.origin));
        }
        for server in servers {
            if slow.contains(&server) {
                continue;
            }
            if !is_member && server != held.origin && !self.rests_on_join(&pdu).await? {
                return Ok(false);
            }
            let mut gaps = self.gaps(1, patience);
            gaps.with_strangers = has_turn;
            match self.take_in(&server, room, pdu.clone(), &mut gaps).await {
                Ok(_) => return Ok(true),
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => tracing::info!(%server, %error, "a held event has to wait on"),
            }
            if is_member && gaps.are_over(self.now()) {
                slow.insert(server);
            }
        }
        Ok(false)
    }

    /// Whether the room as it is denies `origin`, or bans the author of `pdu`.
    async fn is_kept_out(&self, room: &Room, origin: &ServerName, pdu: &Pdu) -> Result<bool, Error> {
        let author = member(pdu.sender());
        let state = self.view(&room.snapshot(), &[SERVER_ACL, author]).await?;
        Ok(is_denied(origin, &state) || state.text(author, "membership") == Some("ban"))
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
