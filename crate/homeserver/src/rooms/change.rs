//! A change to a room: what is gathered under the room's lock, until it is committed as one batch.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_lock::MutexGuardArc;
use hearth_storage::{Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId};

use crate::{
    Error, Homeserver,
    relations::index::NewSummaries,
    rooms::{
        event::StoredEvent,
        room::{Room, Snapshot},
        timeline::timeline_key,
        tree::{Nodes, StateEntry},
    },
};

/// Where an event goes that is added to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To the end of the timeline, and to these servers.
    Live(BTreeSet<OwnedServerName>),
    /// Nowhere: it is only stored. Outliers, rejected and soft-failed events, and back-filled ones, whose order
    /// is in their decision.
    Stored,
}

/// An event of a change.
pub(super) struct Pending {
    pub(super) event: Arc<StoredEvent>,
    pub(super) place: Place,
    /// Whether this change gives it its place in the timeline.
    pub(super) is_new: bool,
    /// Whether it is known not to be stored yet.
    pub(super) is_unstored: bool,
}

/// An event to be sent once it is committed: its log position, and where to.
pub(super) type Letter = (u64, BTreeSet<OwnedServerName>, Arc<StoredEvent>);

/// A change to one room, made under its lock. Dropped without [`Change::commit`], it never was.
pub(crate) struct Change<'a> {
    pub(super) homeserver: &'a Homeserver,
    pub(super) room: Arc<Room>,
    pub(super) guard: MutexGuardArc<()>,
    /// The room as it will be.
    pub(crate) snapshot: Snapshot,
    /// The room as it was.
    pub(super) before: Arc<Snapshot>,
    pub(super) events: Vec<Pending>,
    /// Where in `events` each is.
    pub(super) indices: HashMap<OwnedEventId, usize>,
    /// Other writes that belong to the change.
    pub(crate) batch: WriteBatch,
    pub(super) nodes: Nodes,
    /// Stored events that this change rewrites: redactions take their content, or they are redactions that
    /// may be seen now.
    pub(super) redacted: BTreeMap<OwnedEventId, Arc<StoredEvent>>,
    /// Stored events that lose their content or their place in the timeline, as they were.
    pub(super) outdated: Vec<Arc<StoredEvent>>,
    /// Events that were made here, so that nothing can relate to them yet.
    pub(super) childless: NewSummaries,
    /// Redactions that this change notes for their targets, by the keys of the notes.
    pub(super) redactions: HashMap<Vec<u8>, StoredEvent>,
    /// Whether this change makes a partial state whole.
    pub(super) becomes_whole: bool,
    /// Servers of users whom this change lets in.
    pub(super) joining: BTreeSet<OwnedServerName>,
    /// Servers out of the room that are sent what is sent to all, and may ask what led to it.
    pub(super) told: BTreeSet<OwnedServerName>,
    /// Events of earlier changes that are sent to servers which were not known to be in the room then.
    pub(super) belated: Vec<Letter>,
}

impl Homeserver {
    /// Begins to change `room`, as soon as nobody else does.
    pub(crate) async fn change(&self, room: &Arc<Room>) -> Change<'_> {
        let guard = room.lock.lock_arc().await;
        let before = room.snapshot();
        Change {
            homeserver: self,
            room: room.clone(),
            guard,
            snapshot: Snapshot::clone(&before),
            before,
            events: Vec::new(),
            indices: HashMap::new(),
            batch: WriteBatch::new(),
            nodes: Nodes::default(),
            redacted: BTreeMap::new(),
            outdated: Vec::new(),
            childless: Vec::new(),
            redactions: HashMap::new(),
            becomes_whole: false,
            joining: BTreeSet::new(),
            told: BTreeSet::new(),
            belated: Vec::new(),
        }
    }
}

impl Change<'_> {
    /// Makes `root` the current state, as of after the event that was added last.
    pub(crate) fn set_root(&mut self, root: String) {
        if let Some(Pending { event, place, .. }) = self.events.last_mut()
            && *place != Place::Stored
            && event.decision.state_before.as_ref() != Some(&root)
        {
            Arc::make_mut(event).decision.state_now = Some(root.clone());
        }
        self.snapshot.record.state = root;
    }

    /// Stores an event without putting it at the end of the timeline.
    pub(crate) fn keep(&mut self, event: StoredEvent) {
        self.add(event, Place::Stored);
    }

    /// The same for an event that is not stored yet. If it is, [`Change::store_kept`] fails.
    pub(crate) fn keep_unstored(&mut self, event: StoredEvent) {
        self.add(event, Place::Stored);
        if let Some(pending) = self.events.last_mut() {
            pending.is_unstored = true;
        }
    }

    /// Gives an event that this change stores its place in the timeline.
    pub(crate) fn place(&mut self, event_id: &EventId, order: i64) {
        if let Some(pending) = self.pending_mut(event_id) {
            pending.is_new = true;
            Arc::make_mut(&mut pending.event).decision.order = Some(order);
        }
    }

    /// Notes that what came before an event that this change adds was missed.
    pub(crate) fn note_gap(&mut self, event_id: &EventId) {
        if let Some(pending) = self.pending_mut(event_id) {
            Arc::make_mut(&mut pending.event).decision.after_gap = true;
        }
    }

    pub(super) fn add(&mut self, event: StoredEvent, place: Place) {
        self.indices.insert(event.event_id.clone(), self.events.len());
        let event = Arc::new(event);
        let is_new = place != Place::Stored;
        self.events.push(Pending {
            event,
            place,
            is_new,
            is_unstored: false,
        });
    }

    /// Puts `event` in place of the copy of it that is stored, or that this change adds.
    pub(crate) fn rewrite(&mut self, event: StoredEvent) {
        match self.pending_mut(&event.event_id) {
            Some(pending) => pending.event = Arc::new(event),
            None => drop(self.redacted.insert(event.event_id.clone(), Arc::new(event))),
        }
    }

    /// Notes that `event`, as it is stored, is found by its content or its place no more.
    pub(super) fn outdate(&mut self, event: &Arc<StoredEvent>) {
        if event.decision.order.is_some() {
            self.outdated.push(event.clone());
        }
    }

    /// Takes `event`, as it is stored, out of the timeline, if it is there.
    pub(super) fn take_out(&mut self, event: &Arc<StoredEvent>) {
        self.outdate(event);
        if let Some(order) = event.decision.order {
            let key = timeline_key(&self.room.room_id, order);
            self.batch.delete(Table::Timeline, key);
        }
    }

    /// The root of the state tree `root` with `entries` set. Its new nodes become part of the change.
    pub(crate) async fn insert_state(
        &mut self,
        root: &str,
        entries: Vec<StateEntry>,
    ) -> Result<String, Error> {
        self.homeserver.tree_insert(root, entries, &mut self.nodes).await
    }

    /// The events `event_ids` that are known, those of this change too, in the order asked for.
    pub(crate) async fn known_events(
        &self,
        event_ids: &[OwnedEventId],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let stored: Vec<_> = event_ids
            .iter()
            .filter(|id| self.own_event(id).is_none())
            .cloned()
            .collect();
        let mut stored = self
            .homeserver
            .stored_events(&stored)
            .await?
            .into_iter()
            .peekable();
        let event = |id: &OwnedEventId| match self.own_event(id) {
            Some(event) => Some(event.clone()),
            None => stored.next_if(|event| event.event_id == *id),
        };
        Ok(event_ids.iter().filter_map(event).collect())
    }

    /// The events of this change.
    pub(crate) fn own_events(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.events.iter().map(|pending| &pending.event)
    }

    /// An event as this change writes it.
    pub(super) fn own_event(&self, event_id: &EventId) -> Option<&Arc<StoredEvent>> {
        let pending = self.pending(event_id).map(|pending| &pending.event);
        pending.or_else(|| self.redacted.get(event_id))
    }

    /// Whether an event of this change is known not to be stored yet.
    pub(super) fn is_unstored(&self, event_id: &EventId) -> bool {
        self.pending(event_id).is_some_and(|pending| pending.is_unstored)
    }

    fn pending(&self, event_id: &EventId) -> Option<&Pending> {
        self.events.get(*self.indices.get(event_id)?)
    }

    fn pending_mut(&mut self, event_id: &EventId) -> Option<&mut Pending> {
        self.events.get_mut(*self.indices.get(event_id)?)
    }

    /// The state events that have no place in the chain cover yet.
    pub(super) fn unplaced(&self) -> Vec<OwnedEventId> {
        let events = self.events.iter().map(|pending| &pending.event);
        let unplaced =
            events.filter(|event| event.state_key().is_some() && event.decision.position.is_none());
        unplaced.map(|event| event.event_id.clone()).collect()
    }

    /// Notes the place in the chain cover of an event of this change.
    pub(super) fn set_position(&mut self, event_id: &EventId, position: String) {
        if let Some(pending) = self.pending_mut(event_id) {
            Arc::make_mut(&mut pending.event).decision.position = Some(position);
        }
    }

    /// The nodes of this change.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The room.
    pub(crate) fn room_id(&self) -> &RoomId {
        &self.room.room_id
    }

    /// The homeserver.
    pub(crate) fn homeserver(&self) -> &Homeserver {
        self.homeserver
    }
}
