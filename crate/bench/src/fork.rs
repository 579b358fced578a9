//! A room whose history forked: two states that disagree at some entries and share all others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hearth_rooms::{
    Pdu, RoomVersion, StateMap, auth_selection,
    chain_cover::{self, Authority, ChainId, Position},
    state_tree::{Entry, Node, NodeHash, build},
};
use ruma_common::{EventId, OwnedEventId, UserId};
use ruma_events::TimelineEventType;
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::{Value, json};

use crate::Failure;

const CREATOR: &str = "@creator:example.org";
const KIND: &str = "org.hearth.bench";

/// The room.
pub(crate) struct Fork {
    pub(crate) version: RoomVersion,
    /// Every event.
    pub(crate) events: HashMap<OwnedEventId, Pdu>,
    /// Where each of them stands in the chain cover.
    positions: HashMap<OwnedEventId, Position>,
    /// The places in chains that others continue.
    continued: HashSet<(ChainId, u32)>,
    /// The events of the state before the fork.
    pub(crate) base: HashSet<OwnedEventId>,
    /// The two states after it.
    pub(crate) states: [StateMap; 2],
    /// The same as trees: the roots, and all nodes.
    pub(crate) base_root: NodeHash,
    pub(crate) roots: [NodeHash; 2],
    pub(crate) nodes: HashMap<NodeHash, Arc<Node>>,
    depth: u64,
    room_id: Option<String>,
}

impl Fork {
    /// A room of `version` with `size` state entries, of which `conflicted` events (two for each entry) are in
    /// conflict. Each side of the fork set the power levels and the join rules, and then other state.
    pub(crate) fn new(version: RoomVersion, size: usize, conflicted: usize) -> Result<Self, Failure> {
        let mut fork = Self {
            version,
            events: HashMap::new(),
            positions: HashMap::new(),
            continued: HashSet::new(),
            base: HashSet::new(),
            states: Default::default(),
            base_root: NodeHash::EMPTY,
            roots: [NodeHash::EMPTY; 2],
            nodes: HashMap::new(),
            depth: 0,
            room_id: None,
        };
        let mut base = StateMap::new();
        fork.begin(&mut base, size)?;
        for side in 0..2 {
            let mut state = base.clone();
            fork.diverge(&mut state, side, conflicted / 2)?;
            fork.roots[side] = fork.plant(&state)?;
            fork.states[side] = state;
        }
        fork.base_root = fork.plant(&base)?;
        fork.base = base.into_values().collect();
        Ok(fork)
    }

    /// All that a state rests on, its own events included, as ruma wants it for each state.
    pub(crate) fn auth_chain(&self, state: &StateMap) -> EventIdSet<OwnedEventId> {
        let mut chain = EventIdSet::new();
        let mut open: Vec<&OwnedEventId> = state.values().collect();
        while let Some(id) = open.pop() {
            if chain.insert(id.clone()) {
                open.extend(self.event(id).into_iter().flat_map(Pdu::auth_events));
            }
        }
        chain
    }

    /// The conflicted state subgraph by its definition: what lies on a path from one of `conflicted` to another.
    pub(crate) fn subgraph(&self, conflicted: &[OwnedEventId]) -> EventIdSet<OwnedEventId> {
        let mut reaches: HashMap<&EventId, bool> = conflicted.iter().map(|id| (&**id, true)).collect();
        let mut found = EventIdSet::new();
        for id in conflicted {
            self.trace(id, &mut reaches);
        }
        found.extend(
            reaches
                .into_iter()
                .filter(|(_, reaches)| *reaches)
                .map(|(id, _)| id.to_owned()),
        );
        found
    }

    /// Whether `id` rests on a conflicted event or is one. The chains of these rooms are a few events deep.
    fn trace<'a>(&'a self, id: &'a EventId, reaches: &mut HashMap<&'a EventId, bool>) -> bool {
        let mut any = false;
        for auth in self.event(id).into_iter().flat_map(Pdu::auth_events) {
            any |= match reaches.get(&**auth) {
                Some(known) => *known,
                None => self.trace(auth, reaches),
            };
        }
        *reaches
            .entry(id)
            .and_modify(|reaches| *reaches |= any)
            .or_insert(any)
    }

    pub(crate) fn event(&self, id: &EventId) -> Option<&Pdu> {
        self.events.get(id)
    }

    pub(crate) fn position(&self, id: &EventId) -> Option<&Position> {
        self.positions.get(id)
    }

    fn begin(&mut self, state: &mut StateMap, size: usize) -> Result<(), Failure> {
        let creator = (self.version < RoomVersion::V11).then_some(CREATOR);
        let mut create = json!({ "room_version": self.version.as_str() });
        if let Some(creator) = creator {
            create["creator"] = creator.into();
        }
        self.set(state, "m.room.create", "", create)?;
        self.set(state, "m.room.member", CREATOR, json!({ "membership": "join" }))?;
        self.set(state, "m.room.power_levels", "", self.levels(0))?;
        self.set(state, "m.room.join_rules", "", json!({ "join_rule": "public" }))?;
        for number in state.len()..size {
            self.set(state, KIND, &number.to_string(), json!({ "number": number }))?;
        }
        Ok(())
    }

    fn diverge(&mut self, state: &mut StateMap, side: usize, entries: usize) -> Result<(), Failure> {
        self.set(state, "m.room.power_levels", "", self.levels(side + 1))?;
        self.set(
            state,
            "m.room.join_rules",
            "",
            json!({ "join_rule": "public", "side": side }),
        )?;
        for number in 4..entries + 2 {
            self.set(
                state,
                KIND,
                &number.to_string(),
                json!({ "number": number, "side": side }),
            )?;
        }
        Ok(())
    }

    fn levels(&self, events_default: usize) -> Value {
        let mut levels = json!({ "events_default": events_default });
        if self.version < RoomVersion::V12 {
            levels["users"] = json!({ CREATOR: 100 });
        }
        levels
    }

    fn set(&mut self, state: &mut StateMap, kind: &str, key: &str, content: Value) -> Result<(), Failure> {
        self.depth += 1;
        let event_type = TimelineEventType::from(kind);
        let raw = serde_json::value::to_raw_value(&content)?;
        let sender = <&UserId>::try_from(CREATOR)?;
        let find = |kind: &_, key: &str| state.get(&(Clone::clone(kind), key.to_owned())).cloned();
        let auth_events = auth_selection::select(self.version, &event_type, sender, Some(key), &raw, find)
            .map_err(|rejection| rejection.0)?;
        let mut event = json!({
            "type": kind, "sender": CREATOR, "state_key": key, "content": content, "auth_events": auth_events,
            "prev_events": [], "depth": self.depth, "origin_server_ts": self.depth,
            "hashes": { "sha256": "" }, "signatures": {},
        });
        let names_room =
            event_type != TimelineEventType::RoomCreate || !self.version.room_id_is_create_hash();
        if names_room {
            event["room_id"] = self.room_id.as_deref().unwrap_or("!room:example.org").into();
        }
        let event = Pdu::from_value(self.version, event)?;
        self.room_id = Some(event.room_id().to_string());
        let entry = event.state_entry().ok_or("a state event has an entry")?;
        self.place(&event)?;
        state.insert(entry, event.event_id().to_owned());
        self.events.insert(event.event_id().to_owned(), event);
        Ok(())
    }

    fn place(&mut self, event: &Pdu) -> Result<(), Failure> {
        let authority = |id: &OwnedEventId| {
            let position = self.positions.get(id)?;
            Some(Authority {
                pdu: self.events.get(id)?,
                position,
                continued: self.continued.contains(&(position.chain, position.sequence)),
            })
        };
        let authorities: Option<Vec<_>> = event.auth_events().iter().map(authority).collect();
        let position = authorities.and_then(|authorities| chain_cover::place(event, &authorities));
        let position = position.ok_or("every event of these rooms has a position")?;
        self.continued.insert((position.chain, position.sequence - 1));
        self.positions.insert(event.event_id().to_owned(), position);
        Ok(())
    }

    fn plant(&mut self, state: &StateMap) -> Result<NodeHash, Failure> {
        let entry = |((kind, key), id): (&(_, String), &OwnedEventId)| Entry {
            event_type: ToString::to_string(kind),
            state_key: key.clone(),
            event_id: id.clone(),
        };
        let built = build(state.iter().map(entry))?;
        self.nodes.extend(built.nodes);
        Ok(built.root)
    }
}
