//! What every server knows of a room, read from the stores when nothing is under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_homeserver::{Error, Homeserver, rooms::event::StoredEvent, rooms::state::StateIds};
use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};

use crate::World;

/// How many rows are read at once.
const PAGE: usize = 4096;

/// What one server holds of a room.
#[derive(Default)]
pub(crate) struct Holding {
    /// Every event, whatever was decided about it.
    pub(crate) events: BTreeMap<OwnedEventId, Arc<StoredEvent>>,
    /// The room as the server believes it to be, if it believes to be in it.
    pub(crate) room: Option<Belief>,
}

/// What a server in a room believes.
pub(crate) struct Belief {
    /// The root of the current state.
    pub(crate) root: String,
    /// The newest events.
    pub(crate) extremities: BTreeSet<OwnedEventId>,
    /// The current state.
    pub(crate) state: StateIds,
}

/// What all servers together know of a room.
pub(crate) struct Knowledge {
    pub(crate) room_id: OwnedRoomId,
    /// By server.
    pub(crate) holdings: Vec<Holding>,
    /// Every event that any server holds; a copy that was judged, if there is one.
    pub(crate) events: BTreeMap<OwnedEventId, Arc<StoredEvent>>,
    /// The states that `state_before` of those names.
    states: BTreeMap<String, StateIds>,
}

impl Knowledge {
    /// Asks all servers of `world` that run.
    pub(crate) fn gather(world: &World, room_id: &RoomId) -> Result<Self, Error> {
        let mut knowledge = Self {
            room_id: room_id.to_owned(),
            holdings: Vec::new(),
            events: BTreeMap::new(),
            states: BTreeMap::new(),
        };
        for server in 0..world.server_count() {
            knowledge.add(world, server)?;
        }
        Ok(knowledge)
    }

    fn add(&mut self, world: &World, server: usize) -> Result<(), Error> {
        let mut holding = Holding::default();
        if let Some(homeserver) = world.server(server).homeserver() {
            let (homeserver, store) = (homeserver.clone(), world.server(server).store().clone());
            let (room_id, known) = (self.room_id.clone(), self.states.keys().cloned().collect());
            let (read, states) =
                world.block_on(async move { read(&homeserver, &*store, &room_id, known).await })?;
            self.states.extend(states);
            holding = read;
        }
        for event in holding.events.values() {
            let known = self.events.get(&event.event_id);
            let judged =
                |event: &StoredEvent| event.decision.state_before.is_some() && !event.decision.partial;
            if known.is_none_or(|known| !judged(known) && judged(event)) {
                self.events.insert(event.event_id.clone(), event.clone());
            }
        }
        self.holdings.push(holding);
        Ok(())
    }

    /// The servers that believe to be in the room, and what they believe.
    pub(crate) fn believers(&self) -> impl Iterator<Item = (usize, &Belief)> {
        let beliefs = self.holdings.iter().enumerate();
        beliefs.filter_map(|(server, holding)| Some((server, holding.room.as_ref()?)))
    }

    /// The event `event_id` as `server` holds it.
    pub(crate) fn held(&self, server: usize, event_id: &EventId) -> Option<&Arc<StoredEvent>> {
        self.holdings.get(server)?.events.get(event_id)
    }

    /// The state before `event`, where anybody knows it.
    pub(crate) fn state_before(&self, event: &StoredEvent) -> Option<&StateIds> {
        self.states.get(event.decision.state_before.as_ref()?)
    }

    /// The state after `event`.
    pub(crate) fn state_after(&self, event: &StoredEvent) -> Option<StateIds> {
        let mut state = self.state_before(event)?.clone();
        if let Some(key) = event.state_key().filter(|_| !event.decision.rejected) {
            state.insert((event.kind().to_owned(), key.to_owned()), event.event_id.clone());
        }
        Some(state)
    }

    /// A string in the content of an event of `state`.
    pub(crate) fn text(&self, state: &StateIds, kind: &str, key: &str, field: &str) -> Option<&str> {
        let event_id = state.get(&(kind.to_owned(), key.to_owned()))?;
        self.events.get(event_id)?.content_text(field)
    }

    /// The membership of `user` in `state`.
    pub(crate) fn membership(&self, state: &StateIds, user: &str) -> &str {
        self.text(state, "m.room.member", user, "membership")
            .unwrap_or("leave")
    }

    /// `from` and everything that happened before.
    pub(crate) fn past<'a>(
        &'a self,
        from: impl IntoIterator<Item = &'a OwnedEventId>,
    ) -> BTreeSet<OwnedEventId> {
        self.walk_back(from, |_| true)
    }

    /// `from` and what happened before, as far back as servers that `may_be_asked`, of those in the room, hold every event:
    /// what lies behind one that only others hold, such as who has left, is not to be had.
    pub(crate) fn past_to_be_had<'a>(
        &'a self,
        from: impl IntoIterator<Item = &'a OwnedEventId>,
        may_be_asked: impl Fn(usize) -> bool,
    ) -> BTreeSet<OwnedEventId> {
        let asked = self.believers().filter(|(server, _)| may_be_asked(*server));
        let asked: Vec<_> = asked.map(|(server, _)| server).collect();
        self.walk_back(from, |event_id| {
            let mut held = asked.iter().filter_map(|server| self.held(*server, event_id));
            held.any(|event| event.decision.order.is_some() || event.decision.state_before.is_some())
        })
    }

    fn walk_back<'a>(
        &'a self,
        from: impl IntoIterator<Item = &'a OwnedEventId>,
        goes_on: impl Fn(&EventId) -> bool,
    ) -> BTreeSet<OwnedEventId> {
        let mut past: BTreeSet<_> = from.into_iter().cloned().collect();
        let mut open: Vec<_> = past.iter().cloned().collect();
        while let Some(event_id) = open.pop() {
            let Some(event) = self.events.get(&event_id) else {
                continue;
            };
            let new = event
                .pdu
                .prev_events()
                .iter()
                .filter(|id| goes_on(id) && past.insert((*id).clone()));
            open.extend(new.cloned().collect::<Vec<_>>());
        }
        past
    }
}

/// Reads what one homeserver holds of a room, and the states that are not `known` yet.
async fn read(
    homeserver: &Arc<Homeserver>,
    store: &dyn Store,
    room_id: &RoomId,
    known: BTreeSet<String>,
) -> Result<(Holding, BTreeMap<String, StateIds>), Error> {
    let mut holding = Holding::default();
    let rows = store
        .scan(Table::Events, KeyRange::all(), Direction::Forward, PAGE)
        .await?;
    let ids = rows
        .iter()
        .filter_map(|(key, _)| EventId::parse(str::from_utf8(key).ok()?).ok());
    let ids: Vec<_> = ids.collect();
    let mut states = BTreeMap::new();
    for event in homeserver.stored_events(&ids).await? {
        if event.room_id() != room_id {
            continue;
        }
        if let Some(root) = &event.decision.state_before
            && !known.contains(root)
            && !states.contains_key(root)
        {
            states.insert(root.clone(), homeserver.state_before(&event).await?);
        }
        holding.events.insert(event.event_id.clone(), event);
    }
    holding.room = belief(homeserver, room_id, &holding).await?;
    Ok((holding, states))
}

async fn belief(
    homeserver: &Arc<Homeserver>,
    room_id: &RoomId,
    holding: &Holding,
) -> Result<Option<Belief>, Error> {
    let Some(room) = homeserver.room(room_id).await? else {
        return Ok(None);
    };
    let record = room.snapshot().record.clone();
    let state = state_of(homeserver, &record.state, holding).await?;
    let is_own_member = |((kind, key), event_id): (&(String, String), &OwnedEventId)| {
        let joined = holding
            .events
            .get(event_id)
            .is_some_and(|event| event.content_text("membership") == Some("join"));
        let own = UserId::parse(key.as_str()).is_ok_and(|user| homeserver.is_local(&user));
        kind == "m.room.member" && own && joined
    };
    let resident = state.iter().any(is_own_member);
    Ok(resident.then(|| Belief {
        root: record.state,
        extremities: record.extremities.into_iter().collect(),
        state,
    }))
}

/// The state whose tree has the root `root`: that before an event which says so.
async fn state_of(homeserver: &Homeserver, root: &str, holding: &Holding) -> Result<StateIds, Error> {
    let Some(event) = holding.events.values().next() else {
        return Ok(StateIds::new());
    };
    let mut event = StoredEvent::clone(event);
    event.decision.state_before = Some(root.to_owned());
    homeserver.state_before(&event).await
}
