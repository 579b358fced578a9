//! Changing a room: events are added under its lock, and committed as one batch.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_lock::MutexGuardArc;
use hearth_rooms::{
    BuildError, EventBuilder, Pdu, PduError, Rejection, auth_check, auth_selection, event_id::Hash,
    pdu::MAX_PREV_EVENTS, state_tree::Difference,
};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
};
use ruma_events::TimelineEventType;

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    federation::sender::Outbox,
    relations::{
        index::{Indexing, NewSummaries, summary_key},
        summary::Summary,
    },
    rooms::{
        event::{Decision, StoredEvent},
        former::former_key,
        room::{Room, Snapshot},
        timeline::timeline_key,
        tree::{Nodes, StateEntry},
        view::MEMBER,
    },
    search::SearchChange,
    stored::to_vec,
};

/// An event that a local user wants to send.
#[derive(Clone)]
pub(crate) struct Draft {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: JsonObject,
    /// What a redaction redacts.
    pub redacts: Option<OwnedEventId>,
    /// The device and its transaction id.
    pub transaction: Option<(OwnedDeviceId, String)>,
}

impl Draft {
    /// A state event.
    pub(crate) fn state(sender: &UserId, kind: &str, state_key: &str, content: JsonObject) -> Self {
        Self {
            state_key: Some(state_key.to_owned()),
            ..Self::message(sender, kind, content)
        }
    }

    /// A message event.
    pub(crate) fn message(sender: &UserId, kind: &str, content: JsonObject) -> Self {
        let (sender, kind) = (sender.to_owned(), kind.to_owned());
        Self {
            sender,
            kind,
            state_key: None,
            content,
            redacts: None,
            transaction: None,
        }
    }

    /// A membership event.
    pub(crate) fn member(sender: &UserId, target: &UserId, content: JsonObject) -> Self {
        Self::state(sender, "m.room.member", target.as_str(), content)
    }
}

/// Whom an event is sent to that is appended to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All other servers in the room.
    Room,
    /// Nobody: who has to know does.
    Nobody,
}

/// Where an event goes that is added to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// To the end of the timeline, and to these servers.
    Live(BTreeSet<OwnedServerName>),
    /// Nowhere: it is only stored. Outliers, rejected and soft-failed events, and back-filled ones, whose order
    /// is in their decision.
    Stored,
}

/// An event of a change.
struct Pending {
    event: Arc<StoredEvent>,
    place: Place,
    /// Whether this change gives it its place in the timeline.
    is_new: bool,
    /// Whether it is known not to be stored yet.
    is_unstored: bool,
}

/// An event to be sent once it is committed: its log position, and where to.
type Letter = (u64, BTreeSet<OwnedServerName>, Arc<StoredEvent>);

/// A change to one room, made under its lock. Dropped without [`Change::commit`], it never was.
pub(crate) struct Change<'a> {
    pub(super) homeserver: &'a Homeserver,
    pub(super) room: Arc<Room>,
    guard: MutexGuardArc<()>,
    /// The room as it will be.
    pub(crate) snapshot: Snapshot,
    /// The room as it was.
    pub(super) before: Arc<Snapshot>,
    events: Vec<Pending>,
    /// Where in `events` each is.
    indices: HashMap<OwnedEventId, usize>,
    /// Other writes that belong to the change.
    pub(crate) batch: WriteBatch,
    nodes: Nodes,
    /// Stored events that this change rewrites: redactions take their content, or they are redactions that
    /// may be seen now.
    redacted: HashMap<OwnedEventId, Arc<StoredEvent>>,
    /// Stored events that lose their content or their place in the timeline, as they were.
    outdated: Vec<Arc<StoredEvent>>,
    /// Events that were made here, so that nothing can relate to them yet.
    childless: NewSummaries,
    /// Redactions that this change notes for their targets, by the keys of the notes.
    pub(super) redactions: HashMap<Vec<u8>, StoredEvent>,
    /// Whether this change makes a partial state whole.
    pub(super) becomes_whole: bool,
    /// Servers of users whom this change lets in.
    joining: BTreeSet<OwnedServerName>,
    /// Events of earlier changes that are sent to servers which were not known to be in the room then.
    belated: Vec<Letter>,
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
            redacted: HashMap::new(),
            outdated: Vec::new(),
            childless: Vec::new(),
            redactions: HashMap::new(),
            becomes_whole: false,
            joining: BTreeSet::new(),
            belated: Vec::new(),
        }
    }
}

impl Change<'_> {
    /// Adds what a local user sends: builds, signs and authorises it. Returns its id.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the room's rules refuse it, [`Error::TooLarge`], [`Error::BadJson`].
    pub(crate) async fn send(&mut self, draft: Draft) -> Result<OwnedEventId, Error> {
        let transaction = draft.transaction.clone();
        let pdu = self.propose(draft).await?;
        let event_id = pdu.event_id().to_owned();
        self.append(pdu, transaction, Audience::Room).await?;
        Ok(event_id)
    }

    /// Builds, signs and authorises what a local user sends, without adding it.
    ///
    /// # Errors
    /// As [`Change::send`].
    pub(crate) async fn propose(&self, draft: Draft) -> Result<Pdu, Error> {
        let pdu = self.build(draft).await?;
        self.authorise(&pdu)
            .await?
            .map_err(|rejection| Error::Forbidden(rejection.0))?;
        Ok(pdu)
    }

    /// Builds and signs an event at the end of the room.
    async fn build(&self, draft: Draft) -> Result<Pdu, Error> {
        let version = self.snapshot.version();
        let server_name = self.homeserver.identity.server_name();
        let builder = self.lay_out(draft).await?;
        builder
            .build(version, server_name, self.homeserver.identity.key_pair())
            .map_err(build_error)
    }

    /// Lays out an event at the end of the room.
    pub(crate) async fn lay_out(&self, draft: Draft) -> Result<EventBuilder, Error> {
        let version = self.snapshot.version();
        let event_type = TimelineEventType::from(draft.kind.as_str());
        let auth_events = self.auth_events(&draft, &event_type).await?;
        let names_room = event_type != TimelineEventType::RoomCreate || !version.room_id_is_create_hash();
        let record = &self.snapshot.record;
        let prev_events: Vec<_> = record.extremities.iter().take(MAX_PREV_EVENTS).cloned().collect();
        let reference_hashes = match version.event_names_its_id() {
            true => {
                self.reference_hashes(&[prev_events.as_slice(), &auth_events].concat())
                    .await?
            }
            false => BTreeMap::new(),
        };
        Ok(EventBuilder {
            room_id: names_room.then(|| self.room.room_id.clone()),
            sender: draft.sender,
            event_type,
            state_key: draft.state_key,
            content: draft.content,
            redacts: draft.redacts,
            prev_events,
            auth_events,
            reference_hashes,
            depth: record.depth.saturating_add(1),
            origin_server_ts: self.homeserver.event_timestamp(),
        })
    }

    /// What is to show that `draft` is allowed.
    async fn auth_events(
        &self,
        draft: &Draft,
        event_type: &TimelineEventType,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let content = serde_json::value::to_raw_value(&draft.content)
            .map_err(|error| Error::BadJson(error.to_string()))?;
        let state_key = draft.state_key.as_deref();
        let version = self.snapshot.version();
        let forbidden = |rejection: Rejection| Error::Forbidden(rejection.0);
        let types = auth_selection::auth_types(version, event_type, &draft.sender, state_key, &content)
            .map_err(forbidden)?;
        let state = self.authorising(&self.snapshot.record.state, &types).await?;
        let listed = types
            .iter()
            .filter_map(|(kind, key)| state.get(&kind.to_string(), key));
        Ok(listed.map(|event| event.event_id.clone()).collect())
    }

    /// The reference hashes of known events.
    async fn reference_hashes(&self, ids: &[OwnedEventId]) -> Result<BTreeMap<OwnedEventId, Hash>, Error> {
        let events = self.known_events(ids).await?;
        let hash = |event: &Arc<StoredEvent>| Ok((event.event_id.clone(), event.pdu.reference_hash()?));
        let hashes: Result<_, PduError> = events.iter().map(hash).collect();
        hashes.map_err(|error| Error::Damaged(error.to_string()))
    }

    /// Whether the present state allows `pdu`.
    pub(crate) async fn authorise(&self, pdu: &Pdu) -> Result<Result<(), Rejection>, Error> {
        let types = match auth_selection::auth_types_of(pdu) {
            Ok(types) => types,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let state = self.authorising(&self.snapshot.record.state, &types).await?;
        Ok(auth_check::check_auth_events(pdu, |event_id| {
            let listed = state.iter().find(|event| event.event_id == event_id);
            listed.map(|event| event.pdu.clone())
        }))
    }

    /// Adds an event whose past is the whole room as it is: everything sent here, and what others sent last.
    pub(crate) async fn append(
        &mut self,
        pdu: Pdu,
        transaction: Option<(OwnedDeviceId, String)>,
        audience: Audience,
    ) -> Result<(), Error> {
        let state_before = self.snapshot.record.state.clone();
        let decision = Decision {
            transaction,
            replaces: self.replaced_by(&pdu).await?,
            state_before: Some(state_before.clone()),
            partial: self.snapshot.is_partial(),
            ..Decision::new(&self.room.room_id)
        };
        let mut event = self.redacting(StoredEvent::new(pdu, decision)).await?;
        self.note_taken_in(&event.event_id);
        let record = &mut self.snapshot.record;
        record.depth = record.depth.max(event.pdu.depth());
        record
            .extremities
            .retain(|id| !event.pdu.prev_events().contains(id));
        record.extremities.push(event.event_id.clone());
        if event.state_key().is_some() {
            let root = self
                .insert_state(&state_before, vec![StateEntry::of(&event)])
                .await?;
            event.decision.state_now = Some(root.clone()).filter(|root| *root != state_before);
            self.snapshot.record.state = root;
        }
        self.joining.extend(joining_server(&event));
        let is_made_here = self.homeserver.is_local(event.sender());
        if is_made_here && !event.pdu.version().event_names_its_id() {
            let key = summary_key(event.room_id(), &event.event_id);
            self.childless.push((key, Summary::default()));
        }
        let destinations = match audience {
            Audience::Room => self.destinations(&event).await?,
            Audience::Nobody => BTreeSet::new(),
        };
        self.add(event, Place::Live(destinations));
        Ok(())
    }

    /// The servers that an event is sent to which is sent to all.
    async fn destinations(&self, event: &StoredEvent) -> Result<BTreeSet<OwnedServerName>, Error> {
        let own = self.homeserver.server_name();
        let mut destinations = self.others(own).await?;
        destinations.extend(self.joining.iter().cloned());
        destinations.extend(removed_server(event));
        destinations.remove(own);
        Ok(destinations)
    }

    /// The servers that were in the room before this change, but ourselves and `except`.
    pub(crate) async fn others(&self, except: &ServerName) -> Result<BTreeSet<OwnedServerName>, Error> {
        self.homeserver.others(&self.before, except).await
    }

    /// Adds an event to the end of the timeline whose past may be another than the room as it is, with the
    /// state that it says was before it, and sends it to `servers`. The room's extremities are the caller's
    /// business, and its state, which is said afterwards ([`Change::set_root`]).
    pub(crate) async fn append_remote(
        &mut self,
        mut event: StoredEvent,
        servers: BTreeSet<OwnedServerName>,
    ) -> Result<(), Error> {
        event.decision.replaces = self.replaced_by(&event.pdu).await?;
        let event = self.redacted_early(event).await?;
        let event = self.redacting(event).await?;
        self.snapshot.record.depth = self.snapshot.record.depth.max(event.pdu.depth());
        self.add(event, Place::Live(servers));
        Ok(())
    }

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

    /// The same for an event of which the caller has seen, since the change began, that it is not stored yet.
    pub(crate) fn keep_unstored(&mut self, event: StoredEvent) {
        self.add(event, Place::Stored);
        if let Some(pending) = self.events.last_mut() {
            pending.is_unstored = true;
        }
    }

    /// Gives an event that this change stores its place in the timeline.
    pub(crate) fn place(&mut self, event_id: &EventId, order: i64) {
        let index = self.indices.get(event_id);
        if let Some(pending) = index.and_then(|index| self.events.get_mut(*index)) {
            pending.is_new = true;
            Arc::make_mut(&mut pending.event).decision.order = Some(order);
        }
    }

    /// If `event` brings a new server into the room, sends that what users of this server have said beside it:
    /// when they did, nobody here knew of the newcomer.
    pub(crate) async fn tell_newcomer(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let own = self.homeserver.server_name();
        let Some(newcomer) = joining_server(event).filter(|server| server != own) else {
            return Ok(());
        };
        if self.others(own).await?.contains(&newcomer) {
            return Ok(());
        }
        let beside = self.known_events(&self.snapshot.record.extremities).await?;
        for event in beside
            .into_iter()
            .filter(|event| self.homeserver.is_local(event.sender()))
        {
            if event.state_key().is_none() && !self.homeserver.server_may_see(&newcomer, &event).await? {
                continue;
            }
            if let Some(position) = event.decision.order.and_then(|order| u64::try_from(order).ok()) {
                let servers = BTreeSet::from([newcomer.clone()]);
                Outbox::store(&mut self.batch, &servers, position, &event);
                self.belated.push((position, servers, event));
            }
        }
        Ok(())
    }

    fn add(&mut self, event: StoredEvent, place: Place) {
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

    /// The state events that have no place in the chain cover yet.
    pub(super) fn unplaced(&self) -> Vec<OwnedEventId> {
        let events = self.events.iter().map(|pending| &pending.event);
        let unplaced =
            events.filter(|event| event.state_key().is_some() && event.decision.position.is_none());
        unplaced.map(|event| event.event_id.clone()).collect()
    }

    /// Whether an event of this change is known not to be stored yet.
    pub(super) fn is_unstored(&self, event_id: &EventId) -> bool {
        let pending = self
            .indices
            .get(event_id)
            .and_then(|index| self.events.get(*index));
        pending.is_some_and(|pending| pending.is_unstored)
    }

    /// The events of this change.
    pub(super) fn own_events(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.events.iter().map(|pending| &pending.event)
    }

    /// Notes the place in the chain cover of an event of this change.
    pub(super) fn set_position(&mut self, event_id: &EventId, position: String) {
        let index = self.indices.get(event_id).copied();
        if let Some(pending) = index.and_then(|index| self.events.get_mut(index)) {
            Arc::make_mut(&mut pending.event).decision.position = Some(position);
        }
    }

    /// An event as this change writes it.
    pub(super) fn own_event(&self, event_id: &EventId) -> Option<&Arc<StoredEvent>> {
        let pending = self
            .indices
            .get(event_id)
            .and_then(|index| self.events.get(*index));
        let pending = pending.map(|pending| &pending.event);
        pending.or_else(|| self.redacted.get(event_id))
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

    async fn replaced_by(&self, pdu: &Pdu) -> Result<Option<OwnedEventId>, Error> {
        let Some(state_key) = pdu.state_key() else {
            return Ok(None);
        };
        let kind = pdu.event_type().to_string();
        let root = &self.snapshot.record.state;
        let found = self
            .homeserver
            .tree_get(root, &[(&kind, state_key)], &self.nodes)
            .await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Notes that `event`, as it is stored, is found by its content or its place no more.
    pub(super) fn outdate(&mut self, event: &Arc<StoredEvent>) {
        if event.decision.order.is_some() {
            self.outdated.push(event.clone());
        }
    }

    /// Puts `event` in place of the copy of it that is stored, or that this change adds.
    pub(crate) fn rewrite(&mut self, event: StoredEvent) {
        let index = self.indices.get(&event.event_id);
        match index.and_then(|index| self.events.get_mut(*index)) {
            Some(pending) => pending.event = Arc::new(event),
            None => drop(self.redacted.insert(event.event_id.clone(), Arc::new(event))),
        }
    }

    /// Stores the events that were kept, and nothing else: the room stays as it is, even if it is not known yet.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing has changed.
    pub(crate) async fn store_kept(mut self) -> Result<(), Error> {
        self.place_events().await?;
        for Pending { event, .. } in &self.events {
            write_event(&mut self.batch, event)?;
        }
        Ok(self.homeserver.seams.store.commit(self.batch).await?)
    }

    /// Commits everything, then shows it. Returns the log position of the last entry.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing has changed.
    pub(crate) async fn commit(mut self) -> Result<u64, Error> {
        let homeserver = self.homeserver;
        self.place_events().await?;
        let changes = self.state_changes().await?;
        let rows = self.rows_ahead().await?;
        let members = self.member_changes(&changes, &rows).await?;
        self.drop_stale_rows(&changes, &rows).await?;
        self.count_changes(&members).await?;
        let newcomers = self.newcomers();
        let removed = self.removed_servers();
        self.tell_removed(&removed);
        let servers = self.snapshot.servers.get().map_or(0, |servers| servers.len());
        let is_live = |pending: &&Pending| pending.place != Place::Stored;
        let live = self.events.iter().filter(is_live).count();
        let new = self.events.iter().filter(|pending| pending.is_new);
        let new: Vec<_> = new.map(|pending| &*pending.event).collect();
        let (gained, is_filled) = (new.len(), new.len() > live);
        let indexing = homeserver.indexing(&new, &self.outdated).await?;
        let mut words = None;
        if is_filled || !self.outdated.is_empty() {
            words = Some(
                homeserver
                    .search_change(&self.room.room_id, &self.outdated)
                    .await?,
            );
        }
        let state_only = self.becomes_whole || self.changes_beyond_timeline(&changes);
        let reservation = homeserver.log.reserve(live + usize::from(state_only));
        let (mut entries, mut mail) = self.write_events(reservation.first())?;
        mail.append(&mut self.belated);
        let summaries = self.write_index(indexing)?;
        let words = words.map(|words| self.write_words(words)).transpose()?;
        if state_only {
            entries.push(LogEntry::State {
                room_id: self.room.room_id.clone(),
            });
        }
        let last = reservation.first() + (entries.len() as u64).saturating_sub(1);
        let memberships = self.write_members(members, last)?;
        for server in &removed {
            let key = former_key(&self.room.room_id, server);
            self.batch.put(Table::Memberships, key, last.to_be_bytes());
        }
        if self.becomes_whole {
            self.snapshot.record.whole_since = Some(last);
        }
        self.nodes.write(&mut self.batch);
        self.batch.put(
            Table::Rooms,
            self.room.room_id.as_bytes(),
            to_vec(&self.snapshot.record)?,
        );
        let Self {
            room,
            guard,
            snapshot,
            batch,
            nodes,
            events,
            redacted,
            ..
        } = self;
        let Some(shared) = homeserver.shared() else {
            return Err(Error::Damaged("closing".into()));
        };
        reservation
            .commit(batch, entries, move || {
                for (user_id, membership) in memberships {
                    shared
                        .user_rooms
                        .publish(&user_id, &room.room_id, Some(membership));
                }
                nodes.publish(&shared.nodes);
                let written = events.into_iter().map(|pending| pending.event);
                for event in written.chain(redacted.into_values()) {
                    shared.events.keep(event);
                }
                for (key, summary) in summaries {
                    shared.relations.keep(key, summary);
                }
                room.publish(snapshot);
                shared.rooms.keep(&room);
                drop(words);
                shared.gained_events(&room.room_id, gained);
                for (position, servers, event) in mail {
                    shared.post(&servers, position, &event);
                }
                shared.compare_heads_with_some(&newcomers, servers);
                drop(guard);
            })
            .await
    }

    /// Writes the events; the live ones get positions from `first` on.
    fn write_events(&mut self, first: u64) -> Result<(Vec<LogEntry>, Vec<Letter>), Error> {
        let (mut entries, mut mail) = (Vec::new(), Vec::new());
        for Pending { event, place, .. } in &mut self.events {
            if let Place::Live(servers) = place {
                let position = first + entries.len() as u64;
                Arc::make_mut(event).decision.order = Some(position.cast_signed());
                Outbox::store(&mut self.batch, servers, position, event);
                let (room_id, event_id) = (self.room.room_id.clone(), event.event_id.clone());
                entries.push(LogEntry::Event {
                    room_id,
                    event_id,
                    member: member_of(event),
                });
                mail.push((position, std::mem::take(servers), event.clone()));
            }
            write_event(&mut self.batch, event)?;
        }
        for event in self.redacted.values() {
            write_event(&mut self.batch, event)?;
        }
        Ok((entries, mail))
    }

    /// Writes what relates to what; returns what is to be kept in memory of it.
    fn write_index(&mut self, mut indexing: Indexing) -> Result<NewSummaries, Error> {
        for pending in self.events.iter().filter(|pending| pending.is_new) {
            indexing.add(&pending.event)?;
        }
        let mut summaries = std::mem::take(&mut self.childless);
        summaries.extend(indexing.write(&mut self.batch)?);
        Ok(summaries)
    }

    /// Writes which words are found where, so far as that is not left to those who fill the index. Returns what is
    /// to be held until the commit.
    fn write_words(&mut self, mut words: SearchChange) -> Result<MutexGuardArc<()>, Error> {
        let filled = |pending: &&Pending| pending.is_new && pending.place == Place::Stored;
        for pending in self.events.iter().filter(filled) {
            words.note(&pending.event);
        }
        words.write(&mut self.batch)
    }

    /// The servers that this change brings together with this one: those that come into the room or, if this
    /// server does, all in it.
    fn newcomers(&self) -> BTreeSet<OwnedServerName> {
        let (Some(before), Some(after)) = (self.before.servers.get(), self.snapshot.servers.get()) else {
            return BTreeSet::new();
        };
        if Arc::ptr_eq(before, after) {
            return BTreeSet::new();
        }
        let was_here = self.before.members().local > 0;
        let is_new = |server: &&OwnedServerName| !was_here || !before.contains_key(*server);
        match self.snapshot.members().local {
            0 => BTreeSet::new(),
            _ => after.keys().filter(is_new).cloned().collect(),
        }
    }

    /// The servers that this change removes from the room.
    fn removed_servers(&self) -> BTreeSet<OwnedServerName> {
        match (self.before.servers.get(), self.snapshot.servers.get()) {
            (Some(before), Some(after)) if !self.becomes_whole && !Arc::ptr_eq(before, after) => {
                let gone = before.keys().filter(|server| !after.contains_key(*server));
                gone.cloned().collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Sends the state event by which servers were removed to them, whoever sent it: if two branches of the room
    /// were joined by it, nobody else may know that they believe to be in the room. Of a large room, only some do.
    fn tell_removed(&mut self, removed: &BTreeSet<OwnedServerName>) {
        let others = self.snapshot.servers.get().map_or(0, |servers| servers.len());
        for Pending { event, place, .. } in &mut self.events {
            if let Place::Live(servers) = place
                && event.state_key().is_some()
            {
                let told = removed.iter().filter(|server| {
                    let knows =
                        *server == self.homeserver.server_name() || *server == event.sender().server_name();
                    !knows && self.homeserver.is_one_of_few(others)
                });
                servers.extend(told.cloned());
            }
        }
    }

    /// Where the state differs from what it was before. Costs as much as it differs.
    async fn state_changes(&self) -> Result<Vec<Difference>, Error> {
        let (before, after) = (&self.before.record.state, &self.snapshot.record.state);
        self.homeserver.tree_difference(before, after, &self.nodes).await
    }

    /// Whether the state changes by more than the events that are appended to the timeline.
    fn changes_beyond_timeline(&self, changes: &[Difference]) -> bool {
        let live = self
            .events
            .iter()
            .filter(|pending| pending.place != Place::Stored);
        let live: BTreeSet<_> = live.map(|pending| &pending.event.event_id).collect();
        let is_told = |change: &Difference| change.after.as_ref().is_some_and(|after| live.contains(after));
        !changes.iter().all(is_told)
    }
}

/// Puts an event into `batch`, and into the timeline if it has a place there.
fn write_event(batch: &mut WriteBatch, event: &StoredEvent) -> Result<(), Error> {
    if let Some(order) = event.decision.order {
        let key = timeline_key(event.room_id(), order);
        batch.put(Table::Timeline, key, event.event_id.as_bytes());
    }
    batch.put(Table::Events, event.event_id.as_bytes(), event.encode()?);
    Ok(())
}

/// The server of a user whom `event` lets in.
fn joining_server(event: &StoredEvent) -> Option<OwnedServerName> {
    let joins = event.kind() == MEMBER && event.content_text("membership") == Some("join");
    let user_id = UserId::parse(event.state_key()?).ok()?;
    joins.then(|| user_id.server_name().to_owned())
}

/// The server of a user whom `event` removes: it hears of it, though it may have no member left.
pub(crate) fn removed_server(event: &StoredEvent) -> Option<OwnedServerName> {
    let removed = matches!(event.content_text("membership"), Some("leave" | "ban"));
    if event.kind() != MEMBER || !removed {
        return None;
    }
    Some(UserId::parse(event.state_key()?).ok()?.server_name().to_owned())
}

/// The user whose membership `event` sets.
fn member_of(event: &StoredEvent) -> Option<OwnedUserId> {
    let is_member = event.kind() == MEMBER;
    UserId::parse(event.state_key()?).ok().filter(|_| is_member)
}

/// Says in the terms of the API why an event cannot be made.
pub(crate) fn build_error(error: BuildError) -> Error {
    match error {
        BuildError::Pdu(PduError::TooLarge) => Error::TooLarge(error.to_string()),
        BuildError::Content(_) | BuildError::Pdu(_) => Error::BadJson(error.to_string()),
    }
}
