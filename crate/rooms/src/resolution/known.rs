//! What a resolution was told so far, and what it still has to be told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ruma_common::{EventId, OwnedEventId};
use ruma_events::TimelineEventType;

use super::Event;
use crate::{RoomVersion, StateKey, auth_check::create_event_id, chain_cover::Position};

/// The number that a resolution gives an event.
pub(super) type Index = usize;

/// What has to be supplied before a resolution can go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Events by id.
    pub events: BTreeSet<OwnedEventId>,
    /// Entries that all the states share, or the knowledge that there are none.
    pub entries: BTreeSet<StateKey>,
    /// If there are any: the entries that all the states share and that may rest on one of these events.
    pub later: BTreeSet<OwnedEventId>,
}

impl Need {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.entries.is_empty() && self.later.is_empty()
    }
}

/// An event and what it leads to.
pub(super) struct Node<E> {
    pub(super) event: E,
    /// Type and state key.
    pub(super) key: Option<StateKey>,
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
    Absent,
    Here(Arc<Node<E>>),
}

/// Events by number.
pub(super) struct Known<E> {
    version: RoomVersion,
    indices: HashMap<OwnedEventId, Index>,
    ids: Vec<OwnedEventId>,
    slots: Vec<Slot<E>>,
    /// Entries of the unconflicted state. Conflicted keys have none there.
    entries: HashMap<StateKey, Option<Index>>,
    later: Vec<Index>,
    need: Need,
}

impl<E: Event> Known<E> {
    pub(super) fn new(version: RoomVersion) -> Self {
        Self {
            version,
            indices: HashMap::new(),
            ids: Vec::new(),
            slots: Vec::new(),
            entries: HashMap::new(),
            later: Vec::new(),
            need: Need::default(),
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
        if let Some(index) = self.indices.get(event_id) {
            return *index;
        }
        let index = self.slots.len();
        self.indices.insert(event_id.to_owned(), index);
        self.ids.push(event_id.to_owned());
        self.slots.push(Slot::Unknown);
        index
    }

    /// The id of an event.
    pub(super) fn id(&self, index: Index) -> Option<&OwnedEventId> {
        self.ids.get(index)
    }

    /// An event. It is asked for if it is not known.
    pub(super) fn event(&mut self, index: Index) -> Lookup<Arc<Node<E>>> {
        match self.slots.get(index) {
            Some(Slot::Here(node)) => Lookup::Found(node.clone()),
            Some(Slot::Unknown) => {
                self.need.events.extend(self.ids.get(index).cloned());
                Lookup::NotLoaded
            }
            Some(Slot::Absent) | None => Lookup::Absent,
        }
    }

    /// An event that is known already.
    pub(super) fn found(&self, index: Index) -> Option<&Arc<Node<E>>> {
        match self.slots.get(index) {
            Some(Slot::Here(node)) => Some(node),
            Some(Slot::Unknown | Slot::Absent) | None => None,
        }
    }

    /// Whether it is known what becomes of an event. It is asked for if not.
    pub(super) fn is_settled(&mut self, index: Index) -> bool {
        !matches!(self.event(index), Lookup::NotLoaded)
    }

    /// An entry of the unconflicted state. It is asked for if it is not known.
    pub(super) fn entry(&mut self, key: &StateKey) -> Lookup<Index> {
        match self.entries.get(key) {
            Some(Some(index)) => Lookup::Found(*index),
            Some(None) => Lookup::Absent,
            None => {
                self.need.entries.insert(key.clone());
                Lookup::NotLoaded
            }
        }
    }

    /// Sets what the unconflicted state has at a key.
    pub(super) fn set_entry(&mut self, key: &StateKey, index: Option<Index>) {
        self.entries.insert(key.clone(), index);
    }

    /// Asks for the later entries of `events`.
    pub(super) fn ask_later(&mut self, events: impl Iterator<Item = Index>) {
        let ids = events.filter_map(|index| self.ids.get(index).cloned());
        self.need.later.extend(ids);
    }

    /// The later entries, as supplied.
    pub(super) fn later(&self) -> &[Index] {
        &self.later
    }

    /// Whether something has to be supplied.
    pub(super) fn is_waiting(&self) -> bool {
        !self.need.is_empty()
    }

    /// What has to be supplied.
    pub(super) fn need(&self) -> Option<Need> {
        self.is_waiting().then(|| self.need.clone())
    }

    pub(super) fn supply_event(&mut self, event_id: &EventId, event: Option<(E, Option<Position>)>) {
        if !self.need.events.remove(event_id) {
            return;
        }
        let slot = event.map_or(Slot::Absent, |(event, position)| {
            Slot::Here(Arc::new(self.node(event, position)))
        });
        let index = self.index(event_id);
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
        }
    }

    fn node(&mut self, event: E, position: Option<Position>) -> Node<E> {
        let mut auth: Vec<Index> = Vec::new();
        for id in event.auth_events() {
            let index = self.index(id);
            if !auth.contains(&index) {
                auth.push(index);
            }
        }
        let is_create = *event.event_type() == TimelineEventType::RoomCreate;
        let room_id = event.room_id().filter(|_| !is_create);
        let create = room_id.and_then(|room_id| create_event_id(self.version, room_id));
        let key = event
            .state_key()
            .map(|key| (event.event_type().to_string().into(), key.to_owned()));
        Node {
            key,
            auth,
            create: create.map(|id| self.index(&id)),
            position,
            event,
        }
    }

    pub(super) fn supply_entry(&mut self, key: &StateKey, event_id: Option<OwnedEventId>) {
        if self.need.entries.remove(key) {
            let index = event_id.map(|id| self.index(&id));
            self.set_entry(key, index);
        }
    }

    pub(super) fn supply_later(&mut self, event_ids: &[OwnedEventId]) {
        if !self.need.later.is_empty() {
            self.need.later.clear();
            self.later = event_ids.iter().map(|id| self.index(id)).collect();
        }
    }
}

/// A set of events.
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
