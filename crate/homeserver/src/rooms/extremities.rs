//! The forward extremities of a room: the events that no other follows, which the next event names.
//!
//! There are never more of them than an event can name. So the next event sent here joins them all, and what an
//! event of another server costs is bounded, whatever that server does. While there are many, and nobody here
//! speaks, an event that clients never see joins them. Rejected and soft-failed events are *not* among them.
//!
//! Such an event also joins branches of which one takes a server out of the room. Where no event of its own says so, that
//! server may have soft-failed that branch, and believe for ever to be in a room that nobody tells it of any more; who
//! came into the room by another branch has not heard of a leave that is the server's last word; and a server that left
//! and came back by another branch may be out by both together: only an event that follows all shows it what they
//! come to.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hearth_rooms::{Pdu, ordered, pdu::MAX_PREV_EVENTS};
use hearth_storage::Table;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId};

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        append::{joined_server, removed_server},
        change::Change,
        draft::Draft,
        event::StoredEvent,
        room::Room,
        view::{CREATE, POWER_LEVELS, member},
    },
};

/// The type of the event that only joins others, as Synapse names it.
pub(crate) const DUMMY: &str = "org.matrix.dummy_event";
/// How many extremities are left alone.
const FEW: usize = 10;
/// The shortest pause before they are joined: others may do it, or somebody may speak.
const PAUSE: Duration = Duration::from_secs(10);
/// How much longer the pause may be, in milliseconds. Servers that all see the same extremities do not act at once.
const SPREAD: u64 = 50_000;
/// How many refused events are looked through for the extremities behind them.
const MAX_REFUSED: usize = 100;

/// The rooms whose extremities are about to be joined.
#[derive(Default)]
pub(crate) struct Merges {
    rooms: Mutex<BTreeMap<OwnedRoomId, Merge>>,
}

/// Why the extremities of a room are about to be joined, other than that they are many.
#[derive(Default)]
struct Merge {
    /// The servers out of the room that are to hear of it.
    out: BTreeSet<OwnedServerName>,
    /// Whether servers have gone out of the room: then even two are joined.
    is_for_leaving: bool,
}

impl Change<'_> {
    /// Makes `event` an extremity, in place of those that it follows. If the state before it `is_told`, by its sender's
    /// server and nobody else, they stay for now; if another one of which that is so is known to follow it, it comes beside
    /// that. Returns those that are doubtful so: [`Change::forget_followed`] takes them out, once the state is known.
    pub(crate) async fn add_extremity(
        &mut self,
        event: &StoredEvent,
        is_told: bool,
    ) -> Result<BTreeSet<OwnedEventId>, Error> {
        let mut followed = self.followed_by(&event.pdu).await?;
        let extremities = &mut self.snapshot.record.extremities;
        if !is_told {
            extremities.retain(|id| !followed.contains(id));
            followed.clear();
        }
        extremities.push(event.event_id.clone());
        if self.is_followed(event).await? {
            followed.insert(event.event_id.clone());
        }
        Ok(followed)
    }

    /// Notes that those events are followed which `event` follows and which are not known: it came after a gap.
    /// Should they come later, they are no extremities where the state is the same without them.
    pub(crate) async fn note_followed(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let known = self.known_events(event.pdu.prev_events()).await?;
        let known: BTreeSet<_> = ordered::set(
            known
                .iter()
                .filter(|event| event.decision.state_before.is_some())
                .map(|event| &event.event_id),
        );
        for missing in event.pdu.prev_events().iter().filter(|id| !known.contains(id)) {
            let key = followed_key(event.room_id(), missing);
            self.batch.put(Table::Events, key, event.event_id.as_bytes());
        }
        Ok(())
    }

    /// Takes those extremities out that are among `followed`, as history or another server has shown, if the state of
    /// the room is the same without them: what comes after a gap may rest on nothing but the word of one server.
    pub(crate) async fn forget_followed(&mut self, followed: &BTreeSet<OwnedEventId>) -> Result<(), Error> {
        let mut left = self.snapshot.record.extremities.clone();
        left.retain(|id| !followed.contains(id));
        if left.is_empty() || left.len() == self.snapshot.record.extremities.len() {
            return Ok(());
        }
        let states = self.states_after(&left).await?;
        let is_whole = states.len() == left.len();
        if is_whole && self.joined_state(states).await? == self.snapshot.record.state {
            self.snapshot.record.extremities = left;
        }
        Ok(())
    }

    async fn is_followed(&self, event: &StoredEvent) -> Result<bool, Error> {
        let key = followed_key(event.room_id(), &event.event_id);
        let row = self.homeserver().seams.store.get(Table::Events, &key).await?;
        Ok(row.is_some())
    }

    /// The events that `pdu` follows: directly, or with only refused ones in between.
    async fn followed_by(&self, pdu: &Pdu) -> Result<BTreeSet<OwnedEventId>, Error> {
        let mut followed: BTreeSet<_> = ordered::set(pdu.prev_events().iter().cloned());
        let extremities = &self.snapshot.record.extremities;
        let inner = followed.iter().filter(|id| !extremities.contains(id));
        let mut open: Vec<_> = inner.cloned().collect();
        while !open.is_empty() && followed.len() < MAX_REFUSED {
            let events = self.known_events(&open).await?;
            let refused = events.iter().filter(|event| event.is_refused());
            open = refused
                .flat_map(|event| event.pdu.prev_events().to_vec())
                .collect();
            open.retain(|id| followed.insert(id.clone()));
        }
        Ok(followed)
    }

    /// The extremities with the state after each, no more than an event can name. What does not fit is
    /// forgotten: it is stored and shown, and counts again once an event names it.
    pub(crate) async fn bounded_extremities(&mut self) -> Result<Vec<(OwnedEventId, String)>, Error> {
        let extremities = self.snapshot.record.extremities.clone();
        let mut ends = self.states_after(&extremities).await?;
        while ends.len() > MAX_PREV_EVENTS {
            forget_one(&mut ends);
        }
        self.snapshot.record.extremities = ends.iter().map(|(id, _)| id.clone()).collect();
        Ok(ends)
    }
}

/// The key under which an event is noted that is not known, but followed by one that is.
fn followed_key(room_id: &RoomId, event_id: &EventId) -> Vec<u8> {
    ["f", room_id.as_str(), event_id.as_str()].join("\0").into_bytes()
}

/// Forgets the oldest of those extremities that another one has the same state as. If all differ, the newest: so
/// no flood of events pushes out what changed the state before it.
fn forget_one(ends: &mut Vec<(OwnedEventId, String)>) {
    let shared =
        |(id, root): &(OwnedEventId, String)| ends.iter().any(|(other, same)| other != id && same == root);
    match ends.iter().position(shared) {
        Some(index) => drop(ends.remove(index)),
        None => drop(ends.pop()),
    }
}

impl Homeserver {
    /// Joins the extremities of a room in a while, if they are still many then.
    pub(crate) fn merge_later(&self, room: &Arc<Room>) {
        if room.snapshot().record.extremities.len() > FEW {
            self.begin_merge(room, Merge::default());
        }
    }

    /// Joins the extremities of a room in a while that servers are out of now, and tells those too that are `out` of it by
    /// them together, though not by each. In a large room only some servers do so.
    pub(crate) fn merge_for(&self, room: &Arc<Room>, out: BTreeSet<OwnedServerName>) {
        let snapshot = room.snapshot();
        let others = snapshot.servers.get().map_or(0, |servers| servers.len());
        let is_branched = snapshot.record.extremities.len() > 1;
        if is_branched && self.is_one_of_few(others) {
            let is_for_leaving = true;
            self.begin_merge(room, Merge { out, is_for_leaving });
        }
    }

    fn begin_merge(&self, room: &Arc<Room>, merge: Merge) {
        if !self.merges.begin(room.room_id.clone(), merge) {
            return;
        }
        let pause = PAUSE + Duration::from_millis(self.random_number() % SPREAD);
        let room = room.clone();
        self.spawn(|homeserver| async move {
            homeserver.seams.clock.sleep(pause).await;
            let merge = homeserver.merges.end(&room.room_id);
            if let Err(error) = homeserver.merge_extremities(&room, merge).await {
                tracing::info!(room_id = %room.room_id, %error, "extremities were not joined");
            }
        });
    }

    async fn merge_extremities(&self, room: &Arc<Room>, merge: Merge) -> Result<(), Error> {
        let Merge {
            mut out,
            is_for_leaving,
        } = merge;
        let mut change = self.change(room).await;
        let heads = change.known_events(&change.snapshot.record.extremities).await?;
        let were_joined = matches!(&heads[..], [head] if head.kind() == DUMMY);
        let few = if is_for_leaving { 1 } else { FEW };
        if were_joined || (heads.len() <= few && out.is_empty()) {
            return Ok(());
        }
        let Some(sender) = self.speaker(&change).await? else {
            return Ok(());
        };
        // Who spoke on a branch, and is out by another, is to hear of both.
        for head in &heads {
            if self.was_in_room(head).await? {
                out.insert(head.sender().server_name().to_owned());
            }
        }
        let own = self.server_name();
        let members = change.others(own).await?;
        out.retain(|server| server != own && !members.contains(server));
        change.also_tell(out);
        change
            .send(Draft::message(&sender, DUMMY, JsonObject::new()))
            .await?;
        change.commit().await.map(drop)
    }

    /// Whether the sender of `head` was in the room when they sent it, so that their server may believe to be in it still.
    /// Who said goodbye does not; who knocked never was in.
    async fn was_in_room(&self, head: &StoredEvent) -> Result<bool, Error> {
        let server = Some(head.sender().server_name());
        if removed_server(head).as_deref() == server {
            return Ok(false);
        }
        let Some(root) = &head.decision.state_before else {
            return Ok(false);
        };
        let key = member(head.sender());
        let state = self.view_at(root, &[key]).await?;
        Ok(joined_server(head).as_deref() == server || state.text(key, "membership") == Some("join"))
    }

    /// A local user who may send the event that joins extremities.
    async fn speaker(&self, change: &Change<'_>) -> Result<Option<OwnedUserId>, Error> {
        let power = change.view(&[CREATE, POWER_LEVELS]).await?;
        let required = power.required_power(DUMMY, false);
        let mut members = self.local_members(&change.snapshot.room_id).into_iter();
        Ok(members.find(|user_id| power.power_level(user_id) >= required))
    }

    /// Some number.
    pub(crate) fn random_number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.seams.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl Merges {
    /// Notes that a room's extremities are about to be joined, and why; `false` if that was noted already.
    fn begin(&self, room_id: OwnedRoomId, merge: Merge) -> bool {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        match rooms.entry(room_id) {
            Entry::Occupied(mut entry) => {
                let noted = entry.get_mut();
                noted.out.extend(merge.out);
                noted.is_for_leaving |= merge.is_for_leaving;
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(merge);
                true
            }
        }
    }

    /// Returns what was noted.
    fn end(&self, room_id: &RoomId) -> Merge {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.remove(room_id).unwrap_or_default()
    }
}
