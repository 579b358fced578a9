//! A large room whose history forks: for what resolution costs, counted (the tests) or timed (the example).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hearth_rooms::{
    Pdu, RoomVersion, StateKey, StateMap, auth_selection,
    chain_cover::{self, Authority, ChainId, Position},
    resolution::{Change, Conflict, Need, Progress, Resolution},
    state_tree::{self, Entry, Node, NodeHash, TreeError},
};
use ruma_common::{EventId, OwnedEventId, UserId};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::{Value, json};

const ALICE: &str = "@alice:example.org";

/// A room, its events as far as anybody may ask for them, and its state as a tree.
pub(crate) struct LargeRoom {
    version: RoomVersion,
    room_id: Option<String>,
    pub(crate) events: HashMap<OwnedEventId, Pdu>,
    positions: HashMap<OwnedEventId, Position>,
    continued: HashSet<(ChainId, u32)>,
    pub(crate) nodes: HashMap<NodeHash, Arc<Node>>,
    pub(crate) root: NodeHash,
    /// The state but for the members who never do anything.
    active: StateMap,
    idle: StateMap,
    count: u64,
}

/// Two states that were one once.
pub(crate) struct Fork {
    pub(crate) roots: [NodeHash; 2],
    pub(crate) states: Vec<StateMap>,
    /// Everything that each of them rests on.
    pub(crate) chains: Vec<EventIdSet<OwnedEventId>>,
}

/// What a resolution asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) events: usize,
    pub(crate) entries: usize,
    pub(crate) later: usize,
    pub(crate) rounds: usize,
}

impl LargeRoom {
    /// A room with `levels` changes of power levels, during which `active` members joined, and as many idle
    /// members as make it `entries` entries large.
    pub(crate) fn new(version: RoomVersion, entries: usize, levels: usize, active: usize) -> Self {
        let mut room = Self {
            version,
            room_id: None,
            events: HashMap::new(),
            positions: HashMap::new(),
            continued: HashSet::new(),
            nodes: HashMap::new(),
            root: NodeHash::EMPTY,
            active: StateMap::new(),
            idle: StateMap::new(),
            count: 0,
        };
        let mut state = StateMap::new();
        let create = json!({"room_version": version.as_str(), "creator": ALICE});
        room.add(ALICE, "m.room.create", "", create, &mut state);
        room.add(
            ALICE,
            "m.room.member",
            ALICE,
            json!({"membership": "join"}),
            &mut state,
        );
        room.change_levels(&mut state);
        room.add(
            ALICE,
            "m.room.join_rules",
            "",
            json!({"join_rule": "public"}),
            &mut state,
        );
        for step in 1..levels.max(active + 1) {
            if step < levels {
                room.change_levels(&mut state);
            }
            if step <= active {
                let user = member(step - 1);
                room.add(
                    &user,
                    "m.room.member",
                    &user,
                    json!({"membership": "join"}),
                    &mut state,
                );
            }
        }
        let idle = state.len()..entries;
        room.idle = idle
            .map(|number| {
                let user = format!("@idle{number}:example.net");
                let id = EventId::parse(format!("${number:043}")).unwrap();
                (("m.room.member".into(), user), id)
            })
            .collect();
        room.active = state;
        room.build();
        room
    }

    fn change_levels(&mut self, state: &mut StateMap) {
        let mut levels = json!({"users": {"@bob:example.org": 50}, "events_default": self.count % 2});
        if self.version < RoomVersion::V12 {
            levels["users"][ALICE] = json!(100);
        }
        self.add(ALICE, "m.room.power_levels", "", levels, state);
    }

    fn build(&mut self) {
        let entry = |((event_type, state_key), event_id): (&StateKey, &OwnedEventId)| Entry {
            event_type: event_type.to_string(),
            state_key: state_key.clone(),
            event_id: event_id.clone(),
        };
        let built = state_tree::build(self.active.iter().chain(&self.idle).map(entry)).unwrap();
        self.root = built.root;
        self.nodes.extend(built.nodes);
    }

    /// A fork with `conflicted` conflicted events: on both sides the topic and the same members' names change.
    pub(crate) fn fork(&mut self, conflicted: usize) -> Fork {
        let sides = [0, 1].map(|side| {
            let mut state = self.active.clone();
            self.add(ALICE, "m.room.topic", "", json!({"topic": side}), &mut state);
            for number in 0..(conflicted / 2).saturating_sub(1) {
                let user = member(number);
                let content = json!({"membership": "join", "displayname": side});
                self.add(&user, "m.room.member", &user, content, &mut state);
            }
            state
        });
        let roots = [0, 1].map(|side| self.with_changes(&sides[side]));
        let chains = sides.iter().map(|side| self.chain(side)).collect();
        let whole = |side: StateMap| side.into_iter().chain(self.idle.clone()).collect();
        Fork {
            roots,
            states: sides.into_iter().map(whole).collect(),
            chains,
        }
    }

    /// The root of the room's state with the entries of `state` that are others.
    fn with_changes(&mut self, state: &StateMap) -> NodeHash {
        let changes = state
            .iter()
            .filter(|(key, id)| self.active.get(*key) != Some(*id));
        let changes = changes.map(|((event_type, state_key), event_id)| state_tree::Change {
            event_type: event_type.to_string(),
            state_key: state_key.clone(),
            event_id: Some(event_id.clone()),
        });
        let changed = state_tree::apply(&self.nodes, &self.root, changes.collect::<Vec<_>>()).unwrap();
        self.nodes.extend(changed.nodes);
        changed.root
    }

    fn chain(&self, state: &StateMap) -> EventIdSet<OwnedEventId> {
        let mut chain: EventIdSet<OwnedEventId> = self.idle.values().cloned().collect();
        let mut open: Vec<&OwnedEventId> = state.values().collect();
        while let Some(id) = open.pop() {
            if chain.insert(id.clone()) {
                open.extend(self.events[id].auth_events());
            }
        }
        chain
    }

    fn add(&mut self, sender: &str, event_type: &str, key: &str, content: Value, state: &mut StateMap) {
        self.count += 1;
        let lookup = |event_type: &_, key: &str| {
            let key: StateKey = (Clone::clone(event_type), key.to_owned());
            state.get(&key).cloned()
        };
        let raw = serde_json::value::to_raw_value(&content).unwrap();
        let sender_id = <&UserId>::try_from(sender).unwrap();
        let kind = event_type.into();
        let auth_events =
            auth_selection::select(self.version, &kind, sender_id, Some(key), &raw, lookup).unwrap();
        let mut event = json!({
            "type": event_type, "sender": sender, "state_key": key, "content": content,
            "auth_events": auth_events, "prev_events": [], "depth": self.count,
            "origin_server_ts": self.count, "hashes": {"sha256": ""}, "signatures": {},
            "room_id": self.room_id.clone().unwrap_or_else(|| "!room:example.org".into()),
        });
        if event_type == "m.room.create" && self.version.room_id_is_create_hash() {
            event.as_object_mut().unwrap().remove("room_id");
        }
        let pdu = Pdu::from_value(self.version, event).unwrap();
        self.room_id = Some(pdu.room_id().to_string());
        self.place(&pdu);
        state.insert(pdu.state_entry().unwrap(), pdu.event_id().to_owned());
        self.events.insert(pdu.event_id().to_owned(), pdu);
    }

    fn place(&mut self, pdu: &Pdu) {
        let authority = |id: &OwnedEventId| {
            let position = &self.positions[id];
            Authority {
                pdu: &self.events[id],
                position,
                continued: self.continued.contains(&(position.chain, position.sequence)),
            }
        };
        let authorities: Vec<_> = pdu.auth_events().iter().map(authority).collect();
        let position = chain_cover::place(pdu, &authorities).unwrap();
        self.continued.insert((position.chain, position.sequence - 1));
        self.positions.insert(pdu.event_id().to_owned(), position);
    }

    /// Resolves a fork by its trees; says what was asked for.
    pub(crate) fn resolve(&self, fork: &Fork) -> (Arc<[Change]>, Asked) {
        let divergences = state_tree::divergences(&self.nodes, &fork.roots).unwrap();
        let conflict = Conflict::of_trees(2, divergences);
        let mut resolution = Resolution::new(self.version, conflict).unwrap();
        let mut asked = Asked::default();
        loop {
            match resolution.step(usize::MAX).unwrap() {
                Progress::Done(changes) => return (changes, asked),
                Progress::Working => {}
                Progress::Need(need) => self.supply(&mut resolution, fork, &need, &mut asked),
            }
        }
    }

    fn supply(&self, resolution: &mut Resolution<Pdu>, fork: &Fork, need: &Need, asked: &mut Asked) {
        asked.rounds += 1;
        asked.events += need.events.len();
        asked.entries += need.entries.len();
        for key in &need.entries {
            let found = state_tree::get(&self.nodes, &fork.roots[0], &key.0.to_string(), &key.1);
            resolution.supply_entry(key, found.unwrap());
        }
        if !need.later.is_empty() {
            let later = state_tree::later(&self.nodes, &self.root, &fork.roots).unwrap();
            asked.later += later.len();
            resolution.supply_later(&later);
        }
        for id in &need.events {
            let pdu = self.events.get(id).cloned();
            resolution.supply_event(id, pdu.map(|pdu| (pdu, self.positions.get(id).cloned())));
        }
    }

    /// The tree nodes that comparing the states of a fork takes.
    pub(crate) fn compared(&self, fork: &Fork) -> usize {
        let mut loaded: HashMap<NodeHash, Arc<Node>> = HashMap::new();
        loop {
            match state_tree::divergences(&loaded, &fork.roots) {
                Err(TreeError::Missing(missing)) => {
                    loaded.extend(missing.iter().map(|hash| (*hash, self.nodes[hash].clone())));
                }
                _ => return loaded.len(),
            }
        }
    }

    /// What ruma makes of a fork, given whole states and their auth chains.
    pub(crate) fn resolve_with_ruma(&self, fork: &Fork, chains: Vec<EventIdSet<OwnedEventId>>) -> StateMap {
        let rules = self.version.rules();
        ruma_state_res::resolve(
            &rules.authorization,
            rules.state_res.v2_rules().unwrap(),
            &fork.states,
            chains,
            |id: &EventId| self.events.get(id).cloned(),
            // No conflicted event of these forks rests on another one.
            |conflicted| Some(conflicted.values().flatten().cloned().collect()),
        )
        .unwrap()
    }
}

fn member(number: usize) -> String {
    format!("@active{number}:example.com")
}
