//! Any forks and merges: resolution ends without a panic, does not depend on the order of the states, and is what
//! ruma makes of the whole states, where ruma knows the algorithm.

use std::collections::{BTreeSet, HashMap};

use arbitrary::{Result, Unstructured};
use hearth_rooms::{
    Pdu, RoomVersion, StateMap,
    auth_check::{check_auth_events, check_state},
    auth_selection::select,
    resolution::resolve_maps,
};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::{Value, json, value::to_raw_value};

use super::events::{Parts, USERS, event};

/// The most steps of one run: enough for any interplay, few enough for a slow oracle.
const MAX_STEPS: usize = 60;
/// How many branches there are at most.
const MAX_BRANCHES: usize = 4;

/// Makes a room out of `data`, and resolves its branches.
pub fn check(data: &[u8]) {
    // The bytes end at some point: that is all that an error here means.
    let _ = run(&mut Unstructured::new(data));
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let version = *input.choose(&RoomVersion::ALL)?;
    let mut room = Room::new(version);
    let mut branches = vec![room.begin()];
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let chosen = input.choose_index(branches.len())?;
        match input.int_in_range(0..=9_u8)? {
            0 if branches.len() < MAX_BRANCHES => branches.push(branches[chosen].clone()),
            1 => {
                let other = input.choose_index(branches.len())?;
                branches[chosen] = room.resolved(&[branches[chosen].clone(), branches[other].clone()]);
            }
            _ => room.step(input, &mut branches[chosen])?,
        }
    }
    room.resolved(&branches);
    Ok(())
}

struct Room {
    version: RoomVersion,
    room_id: OwnedRoomId,
    events: HashMap<OwnedEventId, Pdu>,
    number: u64,
}

impl Room {
    fn new(version: RoomVersion) -> Self {
        let room_id = RoomId::parse("!room:a.example").expect("it is one");
        Self {
            version,
            room_id,
            events: HashMap::new(),
            number: 0,
        }
    }

    /// A room in which everybody is, made by the first user.
    fn begin(&mut self) -> StateMap {
        let mut state = StateMap::new();
        let create = json!({ "room_version": self.version.as_str(), "creator": USERS[0] });
        self.send(USERS[0], "m.room.create", "", create, &mut state);
        let users = match self
            .version
            .rules()
            .authorization
            .explicitly_privilege_room_creators
        {
            true => json!({ USERS[1]: 50 }),
            false => json!({ USERS[0]: 100, USERS[1]: 50 }),
        };
        let join = json!({ "membership": "join" });
        self.send(USERS[0], "m.room.member", USERS[0], join.clone(), &mut state);
        self.send(
            USERS[0],
            "m.room.power_levels",
            "",
            json!({ "users": users }),
            &mut state,
        );
        self.send(
            USERS[0],
            "m.room.join_rules",
            "",
            json!({ "join_rule": "public" }),
            &mut state,
        );
        for user in &USERS[1..] {
            self.send(user, "m.room.member", user, join.clone(), &mut state);
        }
        state
    }

    fn step(&mut self, input: &mut Unstructured<'_>, state: &mut StateMap) -> Result<()> {
        let sender = *input.choose(&USERS)?;
        let target = *input.choose(&USERS)?;
        let (kind, key, content) = match input.int_in_range(0..=7_u8)? {
            0 => ("m.room.topic", "", json!({ "n": self.number })),
            1 => {
                let membership = *input.choose(&["ban", "leave", "invite"])?;
                ("m.room.member", target, json!({ "membership": membership }))
            }
            2 => (
                "m.room.member",
                sender,
                json!({ "membership": "join", "n": self.number }),
            ),
            3 => ("m.room.member", sender, json!({ "membership": "leave" })),
            4 | 5 => ("m.room.power_levels", "", levels(input, self.version)?),
            6 => {
                let rule = *input.choose(&["public", "invite", "knock"])?;
                (
                    "m.room.join_rules",
                    "",
                    json!({ "join_rule": rule, "n": self.number }),
                )
            }
            _ => ("x", target, json!({ "n": self.number })),
        };
        self.send(sender, kind, key, content, state);
        Ok(())
    }

    /// Adds an event to `state`, if the rules allow it.
    fn send(&mut self, sender: &str, kind: &str, key: &str, content: Value, state: &mut StateMap) {
        self.number += 1;
        let sender_id = UserId::parse(sender).expect("it is one");
        let raw = to_raw_value(&content).expect("it is JSON");
        let lookup = |kind: &ruma_events::StateEventType, key: &str| {
            state.get(&(kind.clone(), key.to_owned())).cloned()
        };
        let selected = select(self.version, &kind.into(), &sender_id, Some(key), &raw, lookup);
        let Ok(auth_events) = selected else { return };
        let derives = self.version.room_id_is_create_hash() && kind == "m.room.create";
        let pdu = event(&Parts {
            version: self.version,
            room_id: (!derives).then_some(&self.room_id),
            sender,
            kind,
            state_key: Some(key),
            content,
            prev_events: &auth_events.iter().take(1).cloned().collect::<Vec<_>>(),
            auth_events: &auth_events,
            number: self.number,
        });
        let Some(pdu) = pdu else { return };
        let allowed = check_auth_events(&pdu, |id| self.events.get(id).cloned()).is_ok()
            && check_state(&pdu, |kind, key| {
                self.events
                    .get(state.get(&(kind.clone(), key.to_owned()))?)
                    .cloned()
            })
            .is_ok();
        if let Some(entry) = pdu.state_entry().filter(|_| allowed) {
            if kind == "m.room.create" {
                self.room_id = pdu.room_id().to_owned();
            }
            state.insert(entry, pdu.event_id().to_owned());
            self.events.insert(pdu.event_id().to_owned(), pdu);
        }
    }

    /// What `states` resolve to, after what must hold of it.
    fn resolved(&self, states: &[StateMap]) -> StateMap {
        let resolved = self.drive(states);
        let reversed: Vec<_> = states.iter().rev().cloned().collect();
        assert_eq!(resolved, self.drive(&reversed), "the order of states matters");
        if let Some(expected) = self.oracle(states) {
            assert_eq!(resolved, expected, "ruma says otherwise");
        }
        resolved
    }

    fn drive(&self, states: &[StateMap]) -> StateMap {
        let event = |id: &EventId| Some((self.events.get(id)?.clone(), None));
        resolve_maps(self.version, states, event).expect("the conflict is small")
    }

    /// ruma's answer, given everything.
    fn oracle(&self, states: &[StateMap]) -> Option<StateMap> {
        let rules = self.version.rules();
        let chains = states
            .iter()
            .map(|state| self.chain(state.values()).into_iter().collect())
            .collect();
        let resolved = ruma_state_res::resolve(
            &rules.authorization,
            rules.state_res.v2_rules()?,
            states,
            chains,
            |id: &EventId| self.events.get(id).cloned(),
            |conflicted| Some(self.subgraph(&conflicted.values().flatten().cloned().collect())),
        );
        Some(resolved.expect("all events can be had"))
    }

    /// `from` and all that it rests on.
    fn chain<'a>(&self, from: impl Iterator<Item = &'a OwnedEventId>) -> BTreeSet<OwnedEventId> {
        let mut chain = BTreeSet::new();
        let mut open: Vec<OwnedEventId> = from.cloned().collect();
        while let Some(id) = open.pop() {
            if let Some(event) = self.events.get(&id).filter(|_| !chain.contains(&id)) {
                open.extend(event.auth_events().iter().cloned());
                chain.insert(id);
            }
        }
        chain
    }

    /// The conflicted state subgraph by its definition.
    fn subgraph(&self, conflicted: &BTreeSet<OwnedEventId>) -> EventIdSet<OwnedEventId> {
        let below = self.chain(conflicted.iter());
        let reaches = |id: &&OwnedEventId| !self.chain([*id].into_iter()).is_disjoint(conflicted);
        below.iter().filter(reaches).cloned().collect()
    }
}

fn levels(input: &mut Unstructured<'_>, version: RoomVersion) -> Result<Value> {
    let mut users = serde_json::Map::new();
    let ranks_creators = version.rules().authorization.explicitly_privilege_room_creators;
    for user in USERS.iter().skip(usize::from(ranks_creators)) {
        if input.ratio(2_u8, 3)? {
            users.insert((*user).to_owned(), json!(*input.choose(&[0, 49, 50, 99, 100])?));
        }
    }
    let mut content = json!({ "users": users });
    if input.ratio(1_u8, 3)? {
        let field = *input.choose(&["ban", "kick", "invite", "state_default", "users_default"])?;
        content[field] = json!(*input.choose(&[0, 50, 51, 100])?);
    }
    Ok(content)
}
