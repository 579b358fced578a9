//! Changing a room: events are added under its lock, and committed as one batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_lock::MutexGuardArc;
use hearth_rooms::{
    BuildError, EventBuilder, Pdu, PduError, Rejection, auth_check, auth_selection, pdu::MAX_PREV_EVENTS,
    redaction::may_apply,
};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{EventId, OwnedDeviceId, OwnedEventId, OwnedServerName, OwnedUserId, UserId};
use ruma_events::{StateEventType, TimelineEventType};

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    federation::sender::Outbox,
    rooms::{
        event::{Decision, StoredEvent},
        memberships::{RoomMember, UserMembership, invite_key, member_key, user_key},
        room::{Room, Snapshot},
        timeline::timeline_key,
        tree::{Nodes, StateEntry},
    },
    stored::to_vec,
};

/// An event that a local user wants to send.
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

/// Where an event goes that is added to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// To the end of the timeline, and to these servers.
    Live(BTreeSet<OwnedServerName>),
    /// Nowhere: it is only stored. Outliers, rejected and soft-failed events, and back-filled ones, whose order
    /// is in their decision.
    Stored,
}

/// A change to one room, made under its lock. Dropped without [`Change::commit`], it never was.
pub(crate) struct Change<'a> {
    homeserver: &'a Homeserver,
    room: Arc<Room>,
    guard: MutexGuardArc<()>,
    /// The room as it will be.
    pub(crate) snapshot: Snapshot,
    before: Arc<Snapshot>,
    events: Vec<(StoredEvent, Place)>,
    /// Other writes that belong to the change.
    pub(crate) batch: WriteBatch,
    nodes: Nodes,
    /// Stored events that redactions of this change take the content of.
    redacted: Vec<Arc<StoredEvent>>,
    /// Events as they were written, to be kept in memory once they are committed.
    written: Vec<Arc<StoredEvent>>,
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
            batch: WriteBatch::new(),
            nodes: Nodes::default(),
            redacted: Vec::new(),
            written: Vec::new(),
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
        let pdu = self.propose(draft)?;
        let event_id = pdu.event_id().to_owned();
        self.append(pdu, transaction, &BTreeSet::new()).await?;
        Ok(event_id)
    }

    /// Builds, signs and authorises what a local user sends, without adding it.
    ///
    /// # Errors
    /// As [`Change::send`].
    pub(crate) fn propose(&self, draft: Draft) -> Result<Pdu, Error> {
        let pdu = self.build(draft)?;
        self.authorise(&pdu)
            .map_err(|rejection| Error::Forbidden(rejection.0))?;
        Ok(pdu)
    }

    /// Builds and signs an event at the end of the room.
    fn build(&self, draft: Draft) -> Result<Pdu, Error> {
        let version = self.snapshot.version();
        let server_name = self.homeserver.identity.server_name();
        let builder = self.lay_out(draft)?;
        builder
            .build(version, server_name, self.homeserver.identity.key_pair())
            .map_err(build_error)
    }

    /// Lays out an event at the end of the room.
    pub(crate) fn lay_out(&self, draft: Draft) -> Result<EventBuilder, Error> {
        let version = self.snapshot.version();
        let event_type = TimelineEventType::from(draft.kind);
        let content = serde_json::value::to_raw_value(&draft.content)
            .map_err(|error| Error::BadJson(error.to_string()))?;
        let state = &self.snapshot.state;
        let auth_events = auth_selection::select(
            version,
            &event_type,
            &draft.sender,
            draft.state_key.as_deref(),
            &content,
            |kind, state_key| Some(state.get(&kind.to_string(), state_key)?.event_id.clone()),
        )
        .map_err(|rejection| Error::Forbidden(rejection.0))?;
        let names_room = event_type != TimelineEventType::RoomCreate || !version.room_id_is_create_hash();
        Ok(EventBuilder {
            room_id: names_room.then(|| self.room.room_id.clone()),
            sender: draft.sender,
            event_type,
            state_key: draft.state_key,
            content: draft.content,
            redacts: draft.redacts,
            prev_events: self
                .snapshot
                .record
                .extremities
                .iter()
                .take(MAX_PREV_EVENTS)
                .cloned()
                .collect(),
            auth_events,
            depth: self.snapshot.record.depth + 1,
            origin_server_ts: self.homeserver.event_timestamp(),
        })
    }

    /// Whether the present state allows `pdu`.
    pub(crate) fn authorise(&self, pdu: &Pdu) -> Result<(), Rejection> {
        let state = &self.snapshot.state;
        let mut keys = auth_selection::auth_types_of(pdu)?;
        keys.push((StateEventType::RoomCreate, String::new()));
        let authorising: Vec<_> = keys
            .iter()
            .filter_map(|(kind, key)| state.get(&kind.to_string(), key))
            .collect();
        auth_check::check_auth_events(pdu, |event_id| {
            let listed = authorising.iter().find(|event| event.event_id == event_id);
            listed.map(|event| event.pdu.clone())
        })
    }

    /// Adds an event whose past is the whole room as it is: everything sent here, and what others sent last.
    /// It is sent to all servers in the room but ourselves and `except`.
    pub(crate) async fn append(
        &mut self,
        pdu: Pdu,
        transaction: Option<(OwnedDeviceId, String)>,
        except: &BTreeSet<OwnedServerName>,
    ) -> Result<(), Error> {
        let state_before = self.snapshot.record.state.clone();
        let mut destinations: BTreeSet<_> = self.snapshot.state.servers().cloned().collect();
        let mut decision = Decision {
            transaction,
            ..Decision::new(&self.room.room_id)
        };
        decision.state_before = Some(state_before);
        decision.replaces = self.replaced_by(&pdu);
        let event = StoredEvent::new(pdu, decision);
        self.snapshot.record.depth = self.snapshot.record.depth.max(event.pdu.depth());
        self.snapshot
            .record
            .extremities
            .retain(|id| !event.pdu.prev_events().contains(id));
        self.snapshot.record.extremities.push(event.event_id.clone());
        self.redact(&event).await?;
        if event.state_key().is_some() {
            self.set_state(Arc::new(event.clone())).await?;
        }
        destinations.extend(self.snapshot.state.servers().cloned());
        destinations.extend(removed_server(&event));
        destinations.remove(self.homeserver.server_name());
        destinations.retain(|server| !except.contains(server));
        self.events.push((event, Place::Live(destinations)));
        Ok(())
    }

    /// Adds an event to the end of the timeline whose past may be another than the room as it is, with the
    /// state that it says was before it, and sends it to `servers`. The room's state and extremities are the
    /// caller's business.
    pub(crate) async fn append_remote(
        &mut self,
        mut event: StoredEvent,
        servers: BTreeSet<OwnedServerName>,
    ) -> Result<(), Error> {
        event.decision.replaces = self.replaced_by(&event.pdu);
        let event = self.redacted_early(event).await?;
        self.redact(&event).await?;
        self.snapshot.record.depth = self.snapshot.record.depth.max(event.pdu.depth());
        self.events.push((event, Place::Live(servers)));
        Ok(())
    }

    /// Makes `root` the current state.
    pub(crate) async fn set_root(&mut self, root: String) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.snapshot.record.state, root.clone());
        if before == root {
            return Ok(());
        }
        let differences = self
            .homeserver
            .tree_difference(&before, &root, &self.nodes)
            .await?;
        let ids: Vec<_> = differences
            .iter()
            .filter_map(|entry| entry.after.clone())
            .collect();
        let events = self.known_events(&ids).await?;
        let state = Arc::make_mut(&mut self.snapshot.state);
        for removed in differences.iter().filter(|entry| entry.after.is_none()) {
            state.remove(&removed.event_type, &removed.state_key);
        }
        events.into_iter().for_each(|event| state.set(event));
        Ok(())
    }

    /// Stores an event without putting it at the end of the timeline.
    pub(crate) fn keep(&mut self, event: StoredEvent) {
        self.events.push((event, Place::Stored));
    }

    /// Makes `event` part of the current state.
    pub(crate) async fn set_state(&mut self, event: Arc<StoredEvent>) -> Result<(), Error> {
        let entry = StateEntry::of(&event);
        let root = self.snapshot.record.state.clone();
        self.snapshot.record.state = self.insert_state(&root, vec![entry]).await?;
        Arc::make_mut(&mut self.snapshot.state).set(event);
        Ok(())
    }

    /// The root of the state tree `root` with `entries` set. Its new nodes become part of the change.
    pub(crate) async fn insert_state(
        &mut self,
        root: &str,
        entries: Vec<StateEntry>,
    ) -> Result<String, Error> {
        self.homeserver.tree_insert(root, entries, &mut self.nodes).await
    }

    /// The events `event_ids` that are known, those of this change too.
    pub(crate) async fn known_events(
        &self,
        event_ids: &[OwnedEventId],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let own = |id: &OwnedEventId| self.events.iter().find(|(event, _)| event.event_id == *id);
        let (here, stored): (Vec<_>, Vec<_>) = event_ids.iter().cloned().partition(|id| own(id).is_some());
        let here = here
            .iter()
            .filter_map(own)
            .map(|(event, _)| Arc::new(event.clone()));
        let mut events: Vec<_> = here.collect();
        if !stored.is_empty() {
            events.extend(self.homeserver.stored_events(&stored).await?);
        }
        Ok(events)
    }

    /// The nodes of this change.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The homeserver.
    pub(crate) fn homeserver(&self) -> &Homeserver {
        self.homeserver
    }

    fn replaced_by(&self, pdu: &Pdu) -> Option<OwnedEventId> {
        let kind = pdu.event_type().to_string();
        let replaced = self.snapshot.state.get(&kind, pdu.state_key()?)?;
        Some(replaced.event_id.clone())
    }

    /// Applies the redaction `event` to its target, or notes it for when the target comes.
    async fn redact(&mut self, event: &StoredEvent) -> Result<(), Error> {
        if event.kind() != "m.room.redaction" {
            return Ok(());
        }
        let Some(target_id) = event.pdu.redacts() else {
            return Ok(());
        };
        let pending = self
            .events
            .iter()
            .position(|(pending, _)| pending.event_id == target_id);
        if let Some(index) = pending {
            if let Some((target, _)) = self.events.get_mut(index) {
                *target = redacted(target, event, &self.snapshot)?;
            }
            return Ok(());
        }
        match self.homeserver.stored_event(target_id).await? {
            Some(target) => self
                .redacted
                .push(Arc::new(redacted(&target, event, &self.snapshot)?)),
            None => {
                self.batch
                    .put(Table::Events, redaction_key(target_id), event.event_id.as_bytes());
            }
        }
        Ok(())
    }

    /// `event` as a redaction that came before it leaves it.
    pub(crate) async fn redacted_early(&self, event: StoredEvent) -> Result<StoredEvent, Error> {
        let key = redaction_key(&event.event_id);
        let Some(value) = self.homeserver.seams.store.get(Table::Events, &key).await? else {
            return Ok(event);
        };
        let text = str::from_utf8(&value).map_err(|_| Error::Damaged("redaction".into()))?;
        let redaction = EventId::parse(text).map_err(|_| Error::Damaged("redaction".into()))?;
        match self.homeserver.stored_event(&redaction).await? {
            Some(redaction) => redacted(&event, &redaction, &self.snapshot),
            None => Ok(event),
        }
    }

    /// Commits everything, then shows it. Returns the log position of the last entry.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing has changed.
    pub(crate) async fn commit(mut self) -> Result<u64, Error> {
        let homeserver = self.homeserver;
        let live = self
            .events
            .iter()
            .filter(|(_, place)| matches!(place, Place::Live(_)))
            .count();
        let state_only = self.changes_beyond_timeline();
        let reservation = homeserver.log.reserve(live + usize::from(state_only));
        let (entries, mail) = self.write_events(reservation.first())?;
        let mut entries = entries;
        if state_only {
            entries.push(LogEntry::State {
                room_id: self.room.room_id.clone(),
            });
        }
        let last = reservation.first() + (entries.len() as u64).saturating_sub(1);
        self.write_redacted()?;
        let memberships = self.write_members(last)?;
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
            written,
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
                written.into_iter().for_each(|event| shared.recent.keep(event));
                room.publish(snapshot);
                shared.rooms.keep(&room);
                for (position, servers, event) in mail {
                    shared.post(&servers, position, &event);
                }
                drop(guard);
            })
            .await
    }

    /// Writes the events; the live ones get positions from `first` on.
    #[allow(clippy::type_complexity, reason = "one caller takes it apart at once")]
    fn write_events(
        &mut self,
        first: u64,
    ) -> Result<
        (
            Vec<LogEntry>,
            Vec<(u64, BTreeSet<OwnedServerName>, Arc<StoredEvent>)>,
        ),
        Error,
    > {
        let (mut entries, mut mail) = (Vec::new(), Vec::new());
        for (mut event, place) in std::mem::take(&mut self.events) {
            let Place::Live(servers) = place else {
                self.write_stored(&event)?;
                self.written.push(Arc::new(event));
                continue;
            };
            let position = first + entries.len() as u64;
            event.decision.order = Some(position.cast_signed());
            let event = Arc::new(event);
            self.write_stored(&event)?;
            self.refresh_state(&event);
            self.written.push(event.clone());
            Outbox::store(&mut self.batch, &servers, position, &event.event_id);
            let (room_id, event_id) = (self.room.room_id.clone(), event.event_id.clone());
            entries.push(LogEntry::Event { room_id, event_id });
            mail.push((position, servers, event));
        }
        Ok((entries, mail))
    }

    fn write_stored(&mut self, event: &StoredEvent) -> Result<(), Error> {
        if let Some(order) = event.decision.order {
            self.batch.put(
                Table::Timeline,
                timeline_key(&self.room.room_id, order),
                event.event_id.as_bytes(),
            );
        }
        self.batch
            .put(Table::Events, event.event_id.as_bytes(), event.encode()?);
        Ok(())
    }

    fn write_redacted(&mut self) -> Result<(), Error> {
        for event in std::mem::take(&mut self.redacted) {
            self.batch
                .put(Table::Events, event.event_id.as_bytes(), event.encode()?);
            self.refresh_state(&event);
            self.written.push(event);
        }
        Ok(())
    }

    /// Puts the final copy of a state event into the state.
    fn refresh_state(&mut self, event: &Arc<StoredEvent>) {
        if event.state_key().is_some() {
            Arc::make_mut(&mut self.snapshot.state).refresh(event);
        }
    }

    /// Writes the rows of the members that have changed; returns those of local users. `position` is the log
    /// position of the change, unless the event has one of its own.
    fn write_members(&mut self, position: u64) -> Result<BTreeMap<OwnedUserId, UserMembership>, Error> {
        let mut local = BTreeMap::new();
        for user_id in self.changed_members() {
            let Some(event) = self.snapshot.state.get("m.room.member", user_id.as_str()) else {
                continue;
            };
            let membership = self.snapshot.state.membership(&user_id).to_owned();
            let event_id = event.event_id.clone();
            let position = event
                .decision
                .order
                .map_or(position, |order| order.max(0).cast_unsigned());
            let row = RoomMember {
                membership: membership.clone(),
                event_id: event_id.clone(),
            };
            self.batch.put(
                Table::Memberships,
                member_key(&self.room.room_id, &user_id),
                to_vec(&row)?,
            );
            if self.homeserver.is_local(&user_id) {
                let row = self.user_row(&user_id, membership, event_id, position);
                self.batch.put(
                    Table::Memberships,
                    user_key(&user_id, &self.room.room_id),
                    to_vec(&row)?,
                );
                self.write_invite_state(&user_id, &row.membership)?;
                local.insert(user_id, row);
            }
        }
        Ok(local)
    }

    fn user_row(
        &self,
        user_id: &UserId,
        membership: String,
        event_id: OwnedEventId,
        position: u64,
    ) -> UserMembership {
        let before = self.homeserver.user_membership(user_id, &self.room.room_id);
        let was_joined = before.as_ref().is_some_and(|before| before.membership == "join");
        let joined_at = before.and_then(|before| before.joined_at);
        let joins = membership == "join" && !was_joined;
        let joined_at = if joins { Some(position) } else { joined_at };
        UserMembership {
            membership,
            event_id,
            position,
            joined_at,
        }
    }

    /// Keeps the stripped state for a local user who is invited, and drops it for any other.
    fn write_invite_state(&mut self, user_id: &UserId, membership: &str) -> Result<(), Error> {
        let key = invite_key(user_id, &self.room.room_id);
        if membership == "invite" {
            let stripped = self.snapshot.state.stripped_for(user_id);
            self.batch.put(Table::Memberships, key, to_vec(&stripped)?);
        } else {
            self.batch.delete(Table::Memberships, key);
        }
        Ok(())
    }

    /// The users whose membership event is another one than before.
    fn changed_members(&self) -> Vec<OwnedUserId> {
        let members = self
            .changed_state()
            .into_iter()
            .filter(|event| event.kind() == "m.room.member");
        members
            .filter_map(|event| UserId::parse(event.state_key()?).ok())
            .collect()
    }

    /// The state events that were not in the state before.
    fn changed_state(&self) -> Vec<&Arc<StoredEvent>> {
        if Arc::ptr_eq(&self.before.state, &self.snapshot.state) {
            return Vec::new();
        }
        let is_new = |event: &&Arc<StoredEvent>| {
            let before = event
                .state_key()
                .and_then(|key| self.before.state.get(event.kind(), key));
            before.is_none_or(|before| before.event_id != event.event_id)
        };
        self.snapshot.state.iter().filter(is_new).collect()
    }

    /// Whether the state changes by more than the events that are appended to the timeline.
    fn changes_beyond_timeline(&self) -> bool {
        let live = self.events.iter().filter(|(_, place)| *place != Place::Stored);
        let live: BTreeSet<_> = live.map(|(event, _)| &event.event_id).collect();
        self.changed_state()
            .iter()
            .any(|event| !live.contains(&event.event_id))
    }
}

/// The server of a user whom `event` removes: it hears of it, though it may have no member left.
pub(crate) fn removed_server(event: &StoredEvent) -> Option<OwnedServerName> {
    let removed = matches!(event.content_text("membership"), Some("leave" | "ban"));
    if event.kind() != "m.room.member" || !removed {
        return None;
    }
    Some(UserId::parse(event.state_key()?).ok()?.server_name().to_owned())
}

/// `target` as `redaction` leaves it: unchanged if that may not redact it.
fn redacted(target: &StoredEvent, redaction: &StoredEvent, room: &Snapshot) -> Result<StoredEvent, Error> {
    let has_power = room.state.power_level(redaction.sender()) >= room.state.power_field("redact", 50);
    if !may_apply(&redaction.pdu, &target.pdu, has_power) || target.decision.redacted_by.is_some() {
        return Ok(target.clone());
    }
    let pdu = target
        .pdu
        .redacted()
        .map_err(|error| Error::Damaged(error.to_string()))?;
    let decision = Decision {
        redacted_by: Some(redaction.event_id.clone()),
        ..target.decision.clone()
    };
    Ok(StoredEvent::new(pdu, decision))
}

/// The key under which a redaction waits for its target.
fn redaction_key(target: &EventId) -> Vec<u8> {
    [b"r\0", target.as_bytes()].concat()
}

/// Says in the terms of the API why an event cannot be made.
pub(crate) fn build_error(error: BuildError) -> Error {
    match error {
        BuildError::Pdu(PduError::TooLarge) => Error::TooLarge(error.to_string()),
        BuildError::Content(_) | BuildError::Pdu(_) => Error::BadJson(error.to_string()),
    }
}
