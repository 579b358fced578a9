//! State resolution of random forks: exactly what ruma makes of the whole state, whatever the order.

use std::collections::HashMap;

use hearth_rooms::{
    Pdu, RoomVersion, StateMap,
    resolution::{Progress, ResolutionError, resolve},
};
use proptest::prelude::*;
use ruma_common::{EventId, OwnedEventId};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::{Value, json};

use crate::room::{Room, Server};

/// One random step on one branch.
#[derive(Clone, Debug)]
struct Step {
    branch: usize,
    sender: usize,
    target: usize,
    kind: u8,
    level: i64,
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0_usize..3,
        0_usize..4,
        0_usize..4,
        0_u8..7,
        prop_oneof![Just(0_i64), Just(50), Just(100)],
    );
    let step = step.prop_map(|(branch, sender, target, kind, level)| Step {
        branch,
        sender,
        target,
        kind,
        level,
    });
    proptest::collection::vec(step, 1..40)
}

fn content(step: &Step, servers: &[Server], number: usize) -> (&'static str, String, Value) {
    let target = servers[step.target].user.to_string();
    let own = servers[step.sender].user.to_string();
    match step.kind {
        0 => ("m.room.topic", String::new(), json!({"topic": number})),
        1 => ("m.room.member", target, json!({"membership": "ban"})),
        2 => ("m.room.member", target, json!({"membership": "leave"})),
        3 => ("m.room.member", own, json!({"membership": "join", "n": number})),
        4 => (
            "m.room.power_levels",
            String::new(),
            json!({"users": {target: step.level}, "n": number}),
        ),
        5 => {
            let rule = if step.level == 0 { "invite" } else { "public" };
            (
                "m.room.join_rules",
                String::new(),
                json!({"join_rule": rule, "n": number}),
            )
        }
        _ => ("m.test", target, json!({"n": number})),
    }
}

/// A room whose branches went their own ways; only allowed steps were taken.
fn fork(version: RoomVersion, steps: &[Step]) -> (Room, Vec<StateMap>) {
    let servers: Vec<Server> = (1..=4).map(Server::new).collect();
    let (mut room, mut state) = Room::create(version, &servers[0]);
    for server in &servers[1..] {
        let join = json!({"membership": "join"});
        room.send_state(server, "m.room.member", server.user.as_str(), join, &mut state);
    }
    let levels = json!({"users": {servers[1].user.as_str(): 100, servers[2].user.as_str(): 50}});
    let levels = if version < RoomVersion::V12 {
        json!({"users": {servers[0].user.as_str(): 100, servers[1].user.as_str(): 100}})
    } else {
        levels
    };
    room.send_state(&servers[0], "m.room.power_levels", "", levels, &mut state);
    let mut branches = vec![state.clone(), state.clone(), state];
    for (number, step) in steps.iter().enumerate() {
        let (event_type, key, content) = content(step, &servers, number);
        let before = branches[step.branch].clone();
        let sender = &servers[step.sender];
        let pdu = room.send_state(sender, event_type, &key, content, &mut branches[step.branch]);
        if !room.allows(&pdu, &before) {
            branches[step.branch] = before;
        }
    }
    (room, branches)
}

/// Resolves with a store from which events are loaded as they are asked for.
fn driven(room: &Room, states: &[StateMap]) -> Result<(StateMap, usize), ResolutionError> {
    let mut loaded: HashMap<OwnedEventId, Option<Pdu>> = HashMap::new();
    loop {
        match resolve(room.version, states, &loaded)? {
            Progress::Done(state) => return Ok((state, loaded.len())),
            Progress::Need(ids) => {
                for id in ids {
                    let event = room.events.get(&id).cloned();
                    assert!(loaded.insert(id, event).is_none(), "asked for twice");
                }
            }
        }
    }
}

fn full_chain(room: &Room, state: &StateMap) -> EventIdSet<OwnedEventId> {
    let mut chain = EventIdSet::new();
    let mut open: Vec<&OwnedEventId> = state.values().collect();
    while let Some(id) = open.pop() {
        if chain.insert(id.clone()) {
            open.extend(room.events[id].auth_events());
        }
    }
    chain
}

fn reaches(room: &Room, from: &EventId, to: &EventId) -> bool {
    from == to
        || room.events[from]
            .auth_events()
            .iter()
            .any(|id| reaches(room, id, to))
}

/// The conflicted state subgraph by its definition, pair by pair.
fn naive_subgraph(room: &Room, conflicted: &[OwnedEventId]) -> EventIdSet<OwnedEventId> {
    let between = |id: &&OwnedEventId| {
        conflicted.iter().any(|from| reaches(room, from, id))
            && conflicted.iter().any(|to| reaches(room, id, to))
    };
    room.events.keys().filter(between).cloned().collect()
}

/// ruma's answer, given everything.
fn oracle(room: &Room, states: &[StateMap]) -> StateMap {
    let rules = room.version.rules();
    let chains = states.iter().map(|state| full_chain(room, state)).collect();
    let fetch = |id: &EventId| room.events.get(id).cloned();
    ruma_state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        states,
        chains,
        fetch,
        |conflicted| {
            Some(naive_subgraph(
                room,
                &conflicted.values().flatten().cloned().collect::<Vec<_>>(),
            ))
        },
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn forks_of_version_11_resolve_as_ruma_says(steps in any_steps()) {
        let (room, states) = fork(RoomVersion::V11, &steps);
        prop_assert_eq!(driven(&room, &states).unwrap().0, oracle(&room, &states));
    }

    #[test]
    fn forks_of_version_12_resolve_as_ruma_says(steps in any_steps()) {
        let (room, states) = fork(RoomVersion::V12, &steps);
        prop_assert_eq!(driven(&room, &states).unwrap().0, oracle(&room, &states));
    }

    #[test]
    fn the_order_of_states_does_not_matter(steps in any_steps()) {
        let (room, mut states) = fork(RoomVersion::V12, &steps);
        let forward = driven(&room, &states).unwrap().0;
        states.reverse();
        prop_assert_eq!(driven(&room, &states).unwrap().0, forward);
    }
}

#[test]
fn agreement_needs_no_events() {
    let (room, states) = fork(RoomVersion::V12, &[]);
    assert_eq!(driven(&room, &states).unwrap(), (states[0].clone(), 0));
}

#[test]
fn a_small_conflict_in_a_large_room_loads_little() {
    let (mut room, states) = fork(RoomVersion::V12, &[]);
    let mut state = states[0].clone();
    for seed in 10..110 {
        let member = Server::new(seed);
        let join = json!({"membership": "join"});
        room.send_state(&member, "m.room.member", member.user.as_str(), join, &mut state);
    }
    let alice = Server::new(1);
    let mut other = state.clone();
    room.send_state(&alice, "m.room.topic", "", json!({"topic": "a"}), &mut state);
    room.send_state(&alice, "m.room.topic", "", json!({"topic": "b"}), &mut other);
    let states = [state, other];
    let (resolved, loaded) = driven(&room, &states).unwrap();
    assert_eq!(resolved, oracle(&room, &states));
    assert!(loaded < 12, "{loaded} events were loaded");
}

#[test]
fn events_that_cannot_be_had_do_not_stop_a_resolution() {
    let alice = Server::new(1);
    let (mut room, mut state) = Room::create(RoomVersion::V12, &alice);
    let mut other = state.clone();
    let lost = room.send_state(&alice, "m.room.topic", "", json!({"topic": "a"}), &mut state);
    let kept = room.send_state(&alice, "m.room.topic", "", json!({"topic": "b"}), &mut other);
    room.events.remove(lost.event_id());
    let (resolved, _) = driven(&room, &[state, other]).unwrap();
    assert_eq!(
        resolved.get(&kept.state_entry().unwrap()).unwrap(),
        kept.event_id()
    );
}
