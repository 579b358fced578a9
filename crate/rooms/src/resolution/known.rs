//! What a resolution was told so far, and what it still has to be told.

use std::{collections::HashMap, sync::Arc};

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use ruma_events::{StateEventType, TimelineEventType};

use super::{Event, numbers::Numbers};
use crate::{RoomVersion, StateKey, auth_check::create_event_id, chain_cover::Position};

/// The number that a resolution gives an event.
pub(super) type Index = usize;
/// The number that a resolution gives a type and state key.
pub(super) type Key = usize;

/// What has to be supplied before a resolution can go on. Nothing is named twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Events by id.
    pub events: Vec<OwnedEventId>,
    /// Entries that all the states share, or the knowledge that there are none.
    pub entries: Vec<StateKey>,
    /// If there are any: the entries that all the states share and that may rest on one of these events.
    pub later: Vec<OwnedEventId>,
}

/// An event and what it leads to.
pub(super) struct Node<E> {
    pub(super) event: E,
    /// Type and state key.
    pub(super) key: Option<Key>,
    /// The events that it names as its authorisation, each once.
    pub(super) auth: Vec<Index>,
    /// The create event, where the room id names it.
    pub(super) create: Option<Index>,
    pub(super) position: Option<Position>,
}

impl<E: Event> Node<E> {
    /// Whether this is the state event of `event_type` with an empty state key.
    pub(super) fn is(&self, event_type: &TimelineEventType) -> bool {
        self.event.event_type() == event_type && self.event.state_key() == Some("")
    }

    pub(super) fn is_power_levels(&self) -> bool {
        self.is(&TimelineEventType::RoomPowerLevels)
    }
}

/// What is known of an event or an entry.
pub(super) enum Lookup<T> {
    Found(T),
    /// It was asked for now, if it was not before.
    NotLoaded,
    /// It cannot be had.
    Absent,
}

enum Slot<E> {
    Unknown,
    Asked,
    Absent,
    Here(Arc<Node<E>>),
}

/// What the unconflicted state has at a type and state key.
#[derive(Clone, Copy)]
enum Entry {
    Unknown,
    Asked,
    Known(Option<Index>),
}

/// Events by number, and entries of the unconflicted state. Conflicted keys have none there.
pub(super) struct Known<E> {
    version: RoomVersion,
    indices: HashMap<Arc<str>, Index, foldhash::fast::RandomState>,
    ids: Vec<Arc<str>>,
    slots: Vec<Slot<E>>,
    numbers: Numbers,
    keys: Vec<StateKey>,
    entries: Vec<Entry>,
    asked: Asked,
    later: Vec<Index>,
    /// The create event of the room that the last event was of.
    create: Option<(OwnedRoomId, Option<Index>)>,
}

/// What was asked for. What has come since is among the events and entries, but not in the counts.
#[derive(Default)]
struct Asked {
    events: Vec<Index>,
    missing_events: usize,
    entries: Vec<Key>,
    missing_entries: usize,
    later: Vec<Index>,
}

impl<E: Event> Known<E> {
    pub(super) fn new(version: RoomVersion) -> Self {
        Self {
            version,
            indices: HashMap::default(),
            ids: Vec::new(),
            slots: Vec::new(),
            numbers: Numbers::default(),
            keys: Vec::new(),
            entries: Vec::new(),
            asked: Asked::default(),
            later: Vec::new(),
            create: None,
        }
    }

    pub(super) fn version(&self) -> RoomVersion {
        self.version
    }

    /// How many events were heard of.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of an event.
    pub(super) fn index(&mut self, event_id: &EventId) -> Index {
        if let Some(index) = self.indices.get(event_id.as_str()) {
            return *index;
        }
        let index = self.slots.len();
        let id: Arc<str> = event_id.as_str().into();
        self.indices.insert(id.clone(), index);
        self.ids.push(id);
        self.slots.push(Slot::Unknown);
        index
    }

    /// The id of an event.
    pub(super) fn id(&self, index: Index) -> Option<&EventId> {
        let id = self.ids.get(index)?;
        <&EventId>::try_from(&**id).ok()
    }

    /// The number of a type and state key.
    pub(super) fn key(&mut self, key: &StateKey) -> Key {
        let (number, is_new) = self.numbers.of(&key.1, &key.0);
        if is_new {
            self.keys.push(key.clone());
            self.entries.push(Entry::Unknown);
        }
        number
    }

    fn key_of_event(&mut self, event_type: &TimelineEventType, state_key: &str) -> Key {
        let (number, is_new) = self.numbers.of(state_key, event_type);
        if is_new {
            let event_type = StateEventType::from(event_type.to_string());
            self.keys.push((event_type, state_key.to_owned()));
            self.entries.push(Entry::Unknown);
        }
        number
    }

    /// The type and state key of a number.
    pub(super) fn state_key(&self, key: Key) -> Option<&StateKey> {
        self.keys.get(key)
    }

    /// An event. It is asked for if it is not known.
    pub(super) fn event(&mut self, index: Index) -> Lookup<Arc<Node<E>>> {
        match self.slots.get_mut(index) {
            Some(Slot::Here(node)) => Lookup::Found(node.clone()),
            Some(slot @ Slot::Unknown) => {
                *slot = Slot::Asked;
                self.asked.events.push(index);
                self.asked.missing_events += 1;
                Lookup::NotLoaded
            }
            Some(Slot::Asked) => Lookup::NotLoaded,
            Some(Slot::Absent) | None => Lookup::Absent,
        }
    }

    /// An event that is known already.
    pub(super) fn found(&self, index: Index) -> Option<&Arc<Node<E>>> {
        match self.slots.get(index) {
            Some(Slot::Here(node)) => Some(node),
            _ => None,
        }
    }

    /// Whether it is known what becomes of an event. It is asked for if not.
    pub(super) fn is_settled(&mut self, index: Index) -> bool {
        match self.slots.get(index) {
            Some(Slot::Here(_) | Slot::Absent) | None => true,
            Some(Slot::Unknown | Slot::Asked) => !matches!(self.event(index), Lookup::NotLoaded),
        }
    }

    /// An entry of the unconflicted state. It is asked for if it is not known.
    pub(super) fn entry(&mut self, key: Key) -> Lookup<Index> {
        match self.entries.get_mut(key) {
            Some(Entry::Known(Some(index))) => Lookup::Found(*index),
            Some(Entry::Known(None)) | None => Lookup::Absent,
            Some(entry @ Entry::Unknown) => {
                *entry = Entry::Asked;
                self.asked.entries.push(key);
                self.asked.missing_entries += 1;
                Lookup::NotLoaded
            }
            Some(Entry::Asked) => Lookup::NotLoaded,
        }
    }

    /// An entry of the unconflicted state that is known already.
    pub(super) fn known_entry(&self, key: Key) -> Option<Index> {
        match self.entries.get(key) {
            Some(Entry::Known(index)) => *index,
            _ => None,
        }
    }

    /// Sets what the unconflicted state has at a key, before it is asked for.
    pub(super) fn set_entry(&mut self, key: Key, index: Option<Index>) {
        if let Some(entry) = self.entries.get_mut(key) {
            *entry = Entry::Known(index);
        }
    }

    /// Asks for the later entries of `events`.
    pub(super) fn ask_later(&mut self, events: Vec<Index>) {
        self.asked.later = events;
    }

    /// The later entries, as supplied.
    pub(super) fn later(&self) -> &[Index] {
        &self.later
    }

    /// Whether something has to be supplied.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.missing_events + self.asked.missing_entries > 0 || !self.asked.later.is_empty()
    }

    /// What has to be supplied.
    pub(super) fn need(&mut self) -> Option<Need> {
        if !self.is_waiting() {
            return None;
        }
        let (slots, entries) = (&self.slots, &self.entries);
        let is_missing = |index: &Index| matches!(slots.get(*index), Some(Slot::Asked));
        self.asked.events.retain(is_missing);
        let is_missing = |key: &Key| matches!(entries.get(*key), Some(Entry::Asked));
        self.asked.entries.retain(is_missing);
        let id = |index: &Index| self.id(*index).map(EventId::to_owned);
        Some(Need {
            events: self.asked.events.iter().filter_map(id).collect(),
            entries: self
                .asked
                .entries
                .iter()
                .filter_map(|key| self.state_key(*key).cloned())
                .collect(),
            later: self.asked.later.iter().filter_map(id).collect(),
        })
    }

    pub(super) fn supply_event(&mut self, event_id: &EventId, event: Option<(E, Option<Position>)>) {
        let Some(index) = self.indices.get(event_id.as_str()).copied() else {
            return;
        };
        if !matches!(self.slots.get(index), Some(Slot::Asked)) {
            return;
        }
        let slot = event.map_or(Slot::Absent, |(event, position)| {
            Slot::Here(Arc::new(self.node(event, position)))
        });
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
            self.asked.missing_events -= 1;
        }
    }

    fn node(&mut self, event: E, position: Option<Position>) -> Node<E> {
        let mut auth: Vec<Index> = Vec::with_capacity(4);
        for id in event.auth_events() {
            let index = self.index(id);
            if !auth.contains(&index) {
                auth.push(index);
            }
        }
        let is_create = *event.event_type() == TimelineEventType::RoomCreate;
        let room_id = event.room_id().filter(|_| !is_create);
        Node {
            key: event
                .state_key()
                .map(|key| self.key_of_event(event.event_type(), key)),
            auth,
            create: room_id.and_then(|room_id| self.create_of(room_id)),
            position,
            event,
        }
    }

    /// The create event that a room id names. Nearly always all events are of one room.
    fn create_of(&mut self, room_id: &RoomId) -> Option<Index> {
        if let Some((last, create)) = &self.create
            && last == room_id
        {
            return *create;
        }
        let create = create_event_id(self.version, room_id).map(|id| self.index(&id));
        self.create = Some((room_id.to_owned(), create));
        create
    }

    pub(super) fn supply_entry(&mut self, key: &StateKey, event_id: Option<OwnedEventId>) {
        let key = self.key(key);
        if matches!(self.entries.get(key), Some(Entry::Asked)) {
            let index = event_id.map(|id| self.index(&id));
            self.set_entry(key, index);
            self.asked.missing_entries -= 1;
        }
    }

    pub(super) fn supply_later(&mut self, event_ids: &[OwnedEventId]) {
        if !self.asked.later.is_empty() {
            self.asked.later.clear();
            self.later = event_ids.iter().map(|id| self.index(id)).collect();
        }
    }
}

/// A set of events, or of types and state keys.
#[derive(Clone, Default)]
pub(super) struct Marks(Vec<bool>);

impl Marks {
    /// Adds an event; whether it is new.
    pub(super) fn insert(&mut self, index: Index) -> bool {
        if index >= self.0.len() {
            self.0.resize(index + 1, false);
        }
        self.0
            .get_mut(index)
            .is_some_and(|mark| !std::mem::replace(mark, true))
    }

    pub(super) fn contains(&self, index: Index) -> bool {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The events, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = Index> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(index, mark)| mark.then_some(index))
    }
}

impl FromIterator<Index> for Marks {
    fn from_iter<T: IntoIterator<Item = Index>>(indices: T) -> Self {
        let mut marks = Self::default();
        for index in indices {
            marks.insert(index);
        }
        marks
    }
}

/// Entries that were found: an event for some types and state keys.
#[derive(Default)]
pub(super) struct Found(Vec<Option<Index>>);

impl Found {
    pub(super) fn get(&self, key: Key) -> Option<Index> {
        self.0.get(key).copied().flatten()
    }

    pub(super) fn insert(&mut self, key: Key, index: Index) {
        if key >= self.0.len() {
            self.0.resize(key + 1, None);
        }
        if let Some(place) = self.0.get_mut(key) {
            *place = Some(index);
        }
    }

    pub(super) fn extend(&mut self, entries: impl Iterator<Item = (Key, Index)>) {
        entries.for_each(|(key, index)| self.insert(key, index));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Index)> + '_ {
        let entries = self.0.iter().enumerate();
        entries.filter_map(|(key, index)| Some((key, (*index)?)))
    }
}
