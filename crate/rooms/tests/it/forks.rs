//! Random rooms whose history forks and merges, for the tests of state resolution.

use std::collections::{BTreeMap, HashMap, HashSet};

use hearth_rooms::{
    Pdu, RoomVersion, StateKey, StateMap,
    auth_check::{check_auth_events, check_state},
    auth_selection,
    chain_cover::{self, Authority, ChainId, Position},
    resolution::resolve_maps,
};
use proptest::prelude::*;
use ruma_common::{EventId, OwnedEventId};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::{Value, json};

/// One random step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which of the heads it comes after: a bit for each.
    heads: u8,
    /// Whether those heads stay heads, so that the history forks.
    forks: bool,
    sender: usize,
    target: usize,
    kind: u8,
    level: i64,
    /// When, on the sender's clock.
    time: u64,
}

pub(crate) fn any_steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (
        (any::<u8>(), any::<bool>()),
        (0_usize..USERS, 0_usize..USERS),
        0_u8..13,
        prop_oneof![Just(0_i64), Just(49), Just(50), Just(100)],
        0_u64..6,
    );
    let step = step.prop_map(|((heads, forks), (sender, target), kind, level, time)| Step {
        heads,
        forks,
        sender,
        target,
        kind,
        level,
        time,
    });
    proptest::collection::vec(step, 1..most)
}

const USERS: usize = 5;

pub(crate) fn user(number: usize) -> String {
    format!("@user{number}:server{number}")
}

/// An event that was tried, and what was decided.
pub(crate) struct Tried {
    pub(crate) pdu: Pdu,
    pub(crate) state: StateMap,
    pub(crate) by_auth_events: bool,
    pub(crate) by_state: bool,
}

/// A room with all its events, and what is known of each.
pub(crate) struct World {
    pub(crate) version: RoomVersion,
    room_id: Option<String>,
    pub(crate) events: HashMap<OwnedEventId, Pdu>,
    pub(crate) positions: HashMap<OwnedEventId, Position>,
    continued: HashSet<(ChainId, u32)>,
    /// The state before each event.
    pub(crate) before: HashMap<OwnedEventId, StateMap>,
    pub(crate) heads: Vec<(OwnedEventId, StateMap)>,
    pub(crate) time: u64,
    /// Every event that was tried, in order, with the state before it.
    pub(crate) tried: Vec<Tried>,
    count: u64,
    last: OwnedEventId,
}

impl World {
    /// A public room in which everybody is, with levels for some.
    pub(crate) fn new(version: RoomVersion) -> Self {
        let mut world = Self {
            version,
            room_id: None,
            events: HashMap::new(),
            positions: HashMap::new(),
            continued: HashSet::new(),
            before: HashMap::new(),
            heads: Vec::new(),
            time: 0,
            tried: Vec::new(),
            count: 0,
            last: EventId::parse("$none").unwrap(),
        };
        let alice = &*user(0);
        let creator = (version < RoomVersion::V11).then_some(alice);
        let create = json!({"room_version": version.as_str(), "creator": creator});
        let mut state = StateMap::new();
        world.add(alice, "m.room.create", "", create, &mut state);
        world.add(
            alice,
            "m.room.member",
            alice,
            json!({"membership": "join"}),
            &mut state,
        );
        let v12 = version >= RoomVersion::V12;
        let mut users = json!({user(1): 100, user(2): 50});
        if !v12 {
            users[alice] = json!(100);
        }
        let levels = json!({"users": users});
        world.add(alice, "m.room.power_levels", "", levels, &mut state);
        world.add(
            alice,
            "m.room.join_rules",
            "",
            json!({"join_rule": "public"}),
            &mut state,
        );
        for number in 1..USERS - 1 {
            let user = user(number);
            world.add(
                &user,
                "m.room.member",
                &user,
                json!({"membership": "join"}),
                &mut state,
            );
        }
        let last = world.last.clone();
        world.heads = vec![(last, state)];
        world
    }

    /// A room that took `steps`, as far as its rules allowed them.
    pub(crate) fn grown(version: RoomVersion, steps: &[Step]) -> Self {
        let mut world = Self::new(version);
        for step in steps {
            world.take(step);
        }
        world
    }

    /// The states after all heads.
    pub(crate) fn states(&self) -> Vec<StateMap> {
        self.heads.iter().map(|(_, state)| state.clone()).collect()
    }

    fn take(&mut self, step: &Step) {
        let chosen: Vec<usize> = (0..self.heads.len())
            .filter(|index| step.heads >> (index % 8) & 1 == 1)
            .collect();
        let chosen = if chosen.is_empty() { vec![0] } else { chosen };
        let states: Vec<StateMap> = chosen.iter().map(|index| self.heads[*index].1.clone()).collect();
        let mut state = match &*states {
            [state] => state.clone(),
            states if self.version > RoomVersion::V1 => oracle(self, states),
            states => {
                let lookup = |id: &EventId| Some((self.events.get(id)?.clone(), None));
                resolve_maps(self.version, states, lookup).unwrap()
            }
        };
        let (event_type, key, content) = content(step, self.count);
        self.time += step.time;
        let sender = user(step.sender);
        let Some(event) = self.allowed(&sender, event_type, &key, content, &mut state) else {
            return;
        };
        if !(step.forks && self.heads.len() < 4) {
            let mut index = 0;
            self.heads.retain(|_| {
                index += 1;
                !chosen.contains(&(index - 1))
            });
        }
        self.heads.push((event, state));
    }

    /// Adds an event if its own auth events and the state before it allow it.
    pub(crate) fn allowed(
        &mut self,
        sender: &str,
        event_type: &str,
        key: &str,
        content: Value,
        state: &mut StateMap,
    ) -> Option<OwnedEventId> {
        let pdu = self.build(sender, event_type, key, content, state);
        let tried = self.judge(pdu.clone(), state.clone());
        let is_allowed = tried.by_auth_events && tried.by_state;
        self.tried.push(tried);
        is_allowed.then(|| self.keep(pdu, state))
    }

    fn judge(&self, pdu: Pdu, state: StateMap) -> Tried {
        let by_auth_events = check_auth_events(&pdu, |id| self.events.get(id).cloned()).is_ok();
        let before = check_state(&pdu, |event_type, key| {
            let id = state.get(&(event_type.clone(), key.to_owned()))?;
            self.events.get(id).cloned()
        });
        let by_state = before.is_ok();
        Tried {
            pdu,
            state,
            by_auth_events,
            by_state,
        }
    }

    /// Adds an event, allowed or not.
    pub(crate) fn add(
        &mut self,
        sender: &str,
        event_type: &str,
        key: &str,
        content: Value,
        state: &mut StateMap,
    ) -> OwnedEventId {
        let pdu = self.build(sender, event_type, key, content, state);
        let tried = self.judge(pdu.clone(), state.clone());
        self.tried.push(tried);
        self.keep(pdu, state)
    }

    fn build(&mut self, sender: &str, event_type: &str, key: &str, content: Value, state: &StateMap) -> Pdu {
        self.count += 1;
        let lookup = |event_type: &_, key: &str| {
            let key: StateKey = (Clone::clone(event_type), key.to_owned());
            state.get(&key).cloned()
        };
        let raw = serde_json::value::to_raw_value(&content).unwrap();
        let sender_id = <&ruma_common::UserId>::try_from(sender).unwrap();
        let auth_events = auth_selection::select(
            self.version,
            &event_type.into(),
            sender_id,
            Some(key),
            &raw,
            lookup,
        )
        .unwrap();
        let mut event = json!({
            "type": event_type, "sender": sender, "state_key": key, "content": content,
            "auth_events": auth_events, "prev_events": [], "depth": self.count,
            "origin_server_ts": self.time, "hashes": {"sha256": ""}, "signatures": {},
            "room_id": self.room_id.clone().unwrap_or_else(|| "!room:server0".into()),
        });
        let fields = event.as_object_mut().unwrap();
        if event_type == "m.room.create" && self.version.room_id_is_create_hash() {
            fields.remove("room_id");
        }
        if self.version < RoomVersion::V3 {
            let pairs: Vec<Value> = auth_events.iter().map(|id| json!([id, {"sha256": ""}])).collect();
            fields.insert("auth_events".into(), pairs.into());
            fields.insert("event_id".into(), format!("$event{}:server0", self.count).into());
        }
        if let Some(content) = fields.get_mut("content").and_then(Value::as_object_mut) {
            content.retain(|_, value| !value.is_null());
        }
        Pdu::from_value(self.version, event).unwrap()
    }

    fn keep(&mut self, pdu: Pdu, state: &mut StateMap) -> OwnedEventId {
        let id = pdu.event_id().to_owned();
        self.room_id = Some(pdu.room_id().to_string());
        self.index(&pdu);
        self.before.insert(id.clone(), state.clone());
        state.insert(pdu.state_entry().unwrap(), id.clone());
        self.events.insert(id.clone(), pdu);
        self.last = id.clone();
        id
    }

    fn index(&mut self, pdu: &Pdu) {
        let authorities: Option<Vec<Authority<'_>>> = pdu
            .auth_events()
            .iter()
            .map(|id| {
                let position = self.positions.get(id)?;
                Some(Authority {
                    pdu: self.events.get(id)?,
                    position,
                    continued: self.continued.contains(&(position.chain, position.sequence)),
                })
            })
            .collect();
        let Some(position) = authorities.and_then(|authorities| chain_cover::place(pdu, &authorities)) else {
            return;
        };
        if let Some(before) = position.sequence.checked_sub(1) {
            self.continued.insert((position.chain, before));
        }
        self.positions.insert(pdu.event_id().to_owned(), position);
    }
}

fn content(step: &Step, number: u64) -> (&'static str, String, Value) {
    let (own, target) = (user(step.sender), user(step.target));
    let empty = String::new();
    match step.kind {
        0 => ("m.room.topic", empty, json!({"topic": number})),
        1 => ("m.room.member", target, json!({"membership": "ban"})),
        2 => ("m.room.member", target, json!({"membership": "leave"})),
        3 | 4 => ("m.room.member", own, json!({"membership": "join", "n": number})),
        5 => ("m.room.member", target, json!({"membership": "invite"})),
        6..=8 => {
            let mut users = BTreeMap::from([(user(1), 100), (user(2), 50)]);
            users.insert(target, step.level);
            users.remove(&user(0));
            (
                "m.room.power_levels",
                empty,
                json!({"users": users, "n": number, "users_default": 0}),
            )
        }
        9 => {
            let rule = if step.level == 0 { "invite" } else { "public" };
            (
                "m.room.join_rules",
                empty,
                json!({"join_rule": rule, "n": number}),
            )
        }
        10 => ("m.room.name", empty, json!({"name": number})),
        11 => ("m.test", own, json!({"n": number})),
        _ => ("m.test", target, json!({"n": number})),
    }
}

/// All that a state rests on, its own events included.
pub(crate) fn full_chain(world: &World, state: &StateMap) -> EventIdSet<OwnedEventId> {
    let mut chain = EventIdSet::new();
    let mut open: Vec<&OwnedEventId> = state.values().collect();
    while let Some(id) = open.pop() {
        if chain.insert(id.clone()) {
            open.extend(world.events[id].auth_events());
        }
    }
    chain
}

/// The conflicted state subgraph by its definition.
fn naive_subgraph(world: &World, conflicted: &[OwnedEventId]) -> EventIdSet<OwnedEventId> {
    let singles = |id: &OwnedEventId| {
        let state: StateMap = [(("m".into(), String::new()), id.clone())].into();
        full_chain(world, &state)
    };
    let above: Vec<EventIdSet<OwnedEventId>> = conflicted.iter().map(singles).collect();
    let between = |id: &&OwnedEventId| {
        let below = singles(id);
        above.iter().any(|chain| chain.contains(id)) && conflicted.iter().any(|to| below.contains(to))
    };
    world.events.keys().filter(between).cloned().collect()
}

/// ruma's answer, given everything.
pub(crate) fn oracle(world: &World, states: &[StateMap]) -> StateMap {
    let rules = world.version.rules();
    let chains = states.iter().map(|state| full_chain(world, state)).collect();
    ruma_state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        states,
        chains,
        |id: &EventId| world.events.get(id).cloned(),
        |conflicted| {
            let conflicted: Vec<_> = conflicted.values().flatten().cloned().collect();
            Some(naive_subgraph(world, &conflicted))
        },
    )
    .unwrap()
}
