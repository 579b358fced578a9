//! Events that come with a state: verified, judged by the events that they name themselves, and stored as
//! outliers, a few at a time, however many there are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use hearth_rooms::{
    Pdu, RoomVersion,
    auth_check::{check_auth_events, needed_events},
    dag::topological_order,
    ordered,
    state_tree::KeyPath,
};
use hearth_storage::StoreError;
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId};
use serde_json::Value;

use crate::{
    Error, Homeserver,
    rooms::{
        append::joined_server,
        change::Change,
        event::{Decision, StoredEvent},
        room::Room,
        tree::{Nodes, StateEntry, empty_root},
    },
};

/// How many events are verified, judged and stored at once.
pub(crate) const SLICE: usize = 200;
/// How many entries are put into a tree before others get their turn.
const ENTRIES: usize = 1000;
/// How many nodes of a tree are stored at once: whoever reads meanwhile waits for no more than these.
const NODES: usize = 200;
/// The most events that may wait for what they rest on.
const MAX_WAITING: usize = 20_000;
/// The most bytes of them.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Events on their way into the store.
pub(crate) struct Intake {
    room: Arc<Room>,
    version: RoomVersion,
    /// Verified events some of whose auth events have not come yet.
    waiting: BTreeMap<OwnedEventId, Pdu>,
    /// What those that were stored, and are allowed, are in a state.
    entries: Entries,
    /// The events of the state that the room is about to get: members' rows are written together with them.
    ahead: BTreeSet<OwnedEventId>,
    /// The only events that are taken in of what comes, if not all are.
    asked_for: Option<BTreeSet<OwnedEventId>>,
    /// Whether hardly any of the events that come can be stored already.
    expects_new: bool,
}

/// Events as parts of a state.
pub(crate) type Entries = HashMap<OwnedEventId, InState>;

/// What an event is in a state.
pub(crate) struct InState {
    entry: StateEntry,
    /// The server of the member who is joined by it.
    server: Option<OwnedServerName>,
}

/// A state made of stored events.
pub(crate) struct Built {
    /// The root of its tree, which is stored.
    pub root: String,
    /// How many of its events are not stored.
    pub missing: usize,
    /// The servers with a joined member.
    pub servers: BTreeSet<OwnedServerName>,
}

impl Intake {
    /// Nothing has come yet.
    pub(crate) fn new(room: &Arc<Room>, version: RoomVersion) -> Self {
        Self {
            room: room.clone(),
            version,
            waiting: BTreeMap::new(),
            entries: Entries::new(),
            ahead: BTreeSet::new(),
            asked_for: None,
            expects_new: false,
        }
    }

    /// The same for a room that becomes whole by the state `state`.
    pub(crate) fn of_whole_room(
        room: &Arc<Room>,
        version: RoomVersion,
        state: BTreeSet<OwnedEventId>,
    ) -> Self {
        Self {
            ahead: state,
            ..Self::new(room, version)
        }
    }

    /// The same where hardly any of the events that come can be stored already: nobody looks first.
    pub(crate) fn expecting_new(self) -> Self {
        Self {
            expects_new: true,
            ..self
        }
    }

    /// From now on only `event_ids` are taken in.
    pub(crate) fn take_only(&mut self, event_ids: &[OwnedEventId]) {
        self.asked_for = Some(event_ids.iter().cloned().collect());
    }

    /// What was stored, as parts of a state.
    pub(crate) fn into_entries(self) -> Entries {
        self.entries
    }
}

impl InState {
    /// `None` if the event is part of no state of the room.
    fn of(event: &StoredEvent, room_id: &RoomId) -> Option<Self> {
        let is_entry = event.room_id() == room_id && event.state_key().is_some() && !event.decision.rejected;
        is_entry.then(|| Self {
            entry: StateEntry::of(event),
            server: joined_server(event),
        })
    }
}

impl Homeserver {
    /// Takes in `values`. Those that rest on what has not come wait for it. Returns the ids of those that are
    /// signed by whom they must be and belong to the room.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if too many wait.
    pub(crate) async fn take_outliers(
        &self,
        intake: &mut Intake,
        mut values: Vec<Value>,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let mut ids = Vec::with_capacity(values.len());
        while !values.is_empty() {
            let rest = values.split_off(SLICE.min(values.len()));
            let pdus = self
                .verified_all(intake.version, &intake.room.room_id, values)
                .await;
            ids.extend(pdus.iter().map(|pdu| pdu.event_id().to_owned()));
            self.take_verified(intake, pdus).await?;
            values = rest;
            self.give_way().await;
        }
        Ok(ids)
    }

    /// Takes in `pdus`, which [are verified](Homeserver::verified_all), as [`Homeserver::take_outliers`] does.
    pub(crate) async fn take_verified(&self, intake: &mut Intake, pdus: Vec<Pdu>) -> Result<(), Error> {
        let asked_for = intake.asked_for.as_ref();
        let pdus = pdus
            .into_iter()
            .map(|pdu| (pdu.event_id().to_owned(), pdu))
            .filter(|(event_id, _)| asked_for.is_none_or(|asked_for| asked_for.contains(event_id)));
        intake.waiting.extend(pdus);
        self.store_ready(intake).await?;
        let bytes: usize = intake.waiting.values().map(|pdu| pdu.json().len()).sum();
        if intake.waiting.len() > MAX_WAITING || bytes > MAX_WAITING_BYTES {
            return Err(Error::Unreachable("a state rests on what did not come".into()));
        }
        Ok(())
    }

    /// Stores those of the waiting events that their auth events allow, where all of these are known. The others of them
    /// are forgotten.
    async fn store_ready(&self, intake: &mut Intake) -> Result<(), Error> {
        if intake.waiting.is_empty() {
            return Ok(());
        }
        let ordered = topological_order(intake.waiting.values().cloned());
        let needed: BTreeSet<_> = ordered::set(ordered.iter().flat_map(needed_events));
        let needed: Vec<_> = needed
            .into_iter()
            .filter(|id| !intake.waiting.contains_key(id))
            .collect();
        let known = self.stored_events(&needed).await?;
        let known = known
            .iter()
            .map(|event| (event.event_id.clone(), event.pdu.clone()));
        let mut judged: HashMap<OwnedEventId, Pdu> = known.collect();
        let mut ready = Vec::new();
        for pdu in ordered {
            if !needed_events(&pdu).iter().all(|id| judged.contains_key(id)) {
                continue;
            }
            let rejected = check_auth_events(&pdu, |id: &EventId| judged.get(id).cloned()).is_err();
            if rejected {
                tracing::warn!(event_id = %pdu.event_id(), "an event of a state is not allowed");
            }
            let pdu = pdu.with_rejected(rejected);
            judged.insert(pdu.event_id().to_owned(), pdu.clone());
            ready.push(pdu);
        }
        ready
            .iter()
            .for_each(|pdu| drop(intake.waiting.remove(pdu.event_id())));
        ready.retain(|pdu| !pdu.rejected());
        self.store_outliers(intake, ready).await
    }

    /// Stores those of `pdus` that are not stored yet.
    async fn store_outliers(&self, intake: &mut Intake, pdus: Vec<Pdu>) -> Result<(), Error> {
        if pdus.is_empty() {
            return Ok(());
        }
        // Whoever changes the room may be storing the same event, judged.
        let room = intake.room.clone();
        if intake.expects_new {
            let change = self.change(&room).await;
            match self.store_new(intake, change, pdus.clone()).await {
                Err(Error::Store(StoreError::Exists)) => (),
                outcome => return outcome,
            }
        }
        let change = self.change(&room).await;
        let ids: Vec<_> = pdus.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let stored = self.stored_events(&ids).await?;
        let stored: BTreeSet<_> = ordered::set(stored.iter().map(|event| &*event.event_id));
        let new = pdus.into_iter().filter(|pdu| !stored.contains(pdu.event_id()));
        self.store_new(intake, change, new.collect()).await
    }

    /// Stores `pdus` by `change`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if one of them is stored already; then none of them is by this.
    async fn store_new(
        &self,
        intake: &mut Intake,
        mut change: Change<'_>,
        pdus: Vec<Pdu>,
    ) -> Result<(), Error> {
        let mut parts = Vec::with_capacity(pdus.len());
        for pdu in pdus {
            let decision = Decision::new(pdu.room_id());
            let event = StoredEvent::new(pdu, decision);
            let in_state = InState::of(&event, &intake.room.room_id);
            parts.extend(in_state.map(|part| (event.event_id.clone(), part)));
            change.keep_unstored(event);
        }
        change.write_members_ahead(&intake.ahead).await?;
        change.store_kept().await?;
        intake.entries.extend(parts);
        Ok(())
    }

    /// Makes the state of the stored and allowed ones of `event_ids`, and stores its tree. Those that are not among
    /// `known` are read.
    pub(crate) async fn build_state(
        &self,
        room_id: &RoomId,
        event_ids: &[OwnedEventId],
        mut known: Entries,
    ) -> Result<Built, Error> {
        let (mut entries, mut servers, mut missing) = (Vec::new(), BTreeSet::new(), 0);
        for slice in event_ids.chunks(SLICE) {
            let (mut parts, mut unread) = (Vec::new(), Vec::new());
            for event_id in slice {
                match known.remove(event_id) {
                    Some(part) => parts.push(part),
                    None => unread.push(event_id.clone()),
                }
            }
            let events = self.stored_events(&unread).await?;
            missing += unread.len() - events.len();
            parts.extend(events.iter().filter_map(|event| InState::of(event, room_id)));
            for InState { entry, server } in parts {
                servers.extend(server);
                entries.push((KeyPath::new(&entry.kind, &entry.state_key), entry));
            }
            self.give_way().await;
        }
        // Entries that are neighbours in the tree go in together: few nodes are made only to be replaced.
        entries.sort_by_key(|(path, _)| *path);
        let (mut root, mut nodes) = (empty_root(), Nodes::default());
        for slice in entries.chunks(ENTRIES) {
            let slice = slice.iter().map(|(_, entry)| entry.clone()).collect();
            root = self.tree_insert(&root, slice, &mut nodes).await?;
            self.give_way().await;
        }
        // Nobody looks for any of them before all are stored, so they need not be stored at once.
        for batch in nodes.batches(NODES) {
            self.seams.store.commit(batch).await?;
            self.give_way().await;
        }
        nodes.publish(&self.nodes);
        Ok(Built {
            root,
            missing,
            servers,
        })
    }
}
