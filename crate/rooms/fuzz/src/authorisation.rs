//! Any events, on any others: authorisation gives one verdict and no panic, and what was rejected, belongs to
//! another room or is not there authorises nothing.

use std::collections::HashMap;

use arbitrary::{Result, Unstructured};
use hearth_rooms::{
    Pdu, RoomVersion,
    auth_check::{check_auth_events, check_state, needed_events},
    auth_selection::{auth_types_of, select},
};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde_json::{Map, Value, json, value::to_raw_value};

use super::events::{Parts, USERS, event};

/// The most events of one run.
const MAX_EVENTS: u64 = 40;
const KINDS: [&str; 10] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.third_party_invite",
    "m.room.redaction",
    "m.room.aliases",
    "m.room.message",
    "m.room.tombstone",
    "x",
];
const MEMBERSHIPS: [&str; 6] = ["join", "invite", "leave", "ban", "knock", "odd"];
const JOIN_RULES: [&str; 7] = [
    "public",
    "invite",
    "knock",
    "restricted",
    "knock_restricted",
    "private",
    "odd",
];
const LEVELS: [&str; 9] = [
    "ban",
    "kick",
    "redact",
    "invite",
    "events_default",
    "state_default",
    "users_default",
    "notifications",
    "odd",
];

/// Makes events out of `data` and asks for a verdict on each.
pub fn check(data: &[u8]) {
    // The bytes end at some point: that is all that an error here means.
    let _ = run(&mut Unstructured::new(data));
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let version = *input.choose(&RoomVersion::ALL)?;
    let mut room = Room::new(version);
    for number in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        room.step(input, number)?;
    }
    Ok(())
}

struct Room {
    version: RoomVersion,
    room_id: OwnedRoomId,
    events: HashMap<OwnedEventId, Pdu>,
    /// In the order in which they came, so that a choice depends on the bytes alone.
    ids: Vec<OwnedEventId>,
    state: HashMap<(String, String), OwnedEventId>,
}

impl Room {
    fn new(version: RoomVersion) -> Self {
        let room_id = RoomId::parse("!room:a.example").expect("it is one");
        let (events, state) = (HashMap::new(), HashMap::new());
        Self {
            version,
            room_id,
            events,
            ids: Vec::new(),
            state,
        }
    }

    fn step(&mut self, input: &mut Unstructured<'_>, number: u64) -> Result<()> {
        let first = self.ids.is_empty();
        let kind = match first {
            true => KINDS[0],
            false => *input.choose(&KINDS)?,
        };
        let sender = *input.choose(&USERS)?;
        let content = content(input, kind, self.version)?;
        let state_key = state_key(input, kind, sender)?;
        let other = RoomId::parse("!other:a.example").expect("it is one");
        let elsewhere = !first && input.ratio(1_u8, 20)?;
        let derives = self.version.room_id_is_create_hash() && kind == "m.room.create";
        let room_id = if elsewhere { &other } else { &self.room_id };
        let prev_events: Vec<_> = self.ids.last().into_iter().cloned().collect();
        let auth_events = self.auth_events(input, kind, sender, state_key.as_deref(), &content)?;
        let parts = Parts {
            version: self.version,
            room_id: (!derives).then_some(room_id),
            sender,
            kind,
            state_key: state_key.as_deref(),
            content,
            prev_events: &prev_events,
            auth_events: &auth_events,
            number,
        };
        if let Some(pdu) = event(&parts) {
            self.take(pdu);
        }
        Ok(())
    }

    fn take(&mut self, pdu: Pdu) {
        if self.ids.is_empty() {
            self.room_id = pdu.room_id().to_owned();
        }
        let verdict = self.judge(&pdu);
        let allowed_now = check_state(&pdu, |kind, key| {
            let id = self.state.get(&(kind.to_string(), key.to_owned()))?;
            self.events.get(id).cloned()
        });
        let id = pdu.event_id().to_owned();
        let entry = pdu.state_entry().map(|(kind, key)| (kind.to_string(), key));
        if let Some(entry) = entry.filter(|_| verdict && allowed_now.is_ok()) {
            self.state.insert(entry, id.clone());
        }
        if self
            .events
            .insert(id.clone(), pdu.with_rejected(!verdict))
            .is_none()
        {
            self.ids.push(id);
        }
    }

    /// The verdict by the auth events, after what must hold of it.
    fn judge(&self, pdu: &Pdu) -> bool {
        let verdict = check_auth_events(pdu, |id| self.events.get(id).cloned());
        let again = check_auth_events(pdu, |id| self.events.get(id).cloned());
        assert_eq!(verdict, again);
        let _ = auth_types_of(pdu);
        if verdict.is_ok() {
            for id in needed_events(pdu) {
                let listed = self
                    .events
                    .get(&id)
                    .expect("what is not there authorises nothing");
                assert!(!listed.rejected(), "what was rejected authorises nothing");
                assert_eq!(listed.room_id(), pdu.room_id(), "another room authorises nothing");
            }
        }
        verdict.is_ok()
    }

    /// Mostly what the state calls for, sometimes anything.
    fn auth_events(
        &self,
        input: &mut Unstructured<'_>,
        kind: &str,
        sender: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Result<Vec<OwnedEventId>> {
        if !self.ids.is_empty() && input.ratio(1_u8, 5)? {
            let count = input.int_in_range(0..=4)?;
            return (0..count).map(|_| Ok(input.choose(&self.ids)?.clone())).collect();
        }
        let sender = UserId::parse(sender).expect("it is one");
        let content = to_raw_value(content).expect("it is JSON");
        let lookup = |kind: &_, key: &str| {
            let kind: &ruma_events::StateEventType = kind;
            self.state.get(&(kind.to_string(), key.to_owned())).cloned()
        };
        let selected = select(self.version, &kind.into(), &sender, state_key, &content, lookup);
        Ok(selected.unwrap_or_default())
    }
}

fn state_key(input: &mut Unstructured<'_>, kind: &str, sender: &str) -> Result<Option<String>> {
    Ok(match input.int_in_range(0..=9_u8)? {
        0 => None,
        1 => Some(input.arbitrary::<String>()?),
        2 | 3 => Some((*input.choose(&USERS)?).to_owned()),
        _ if matches!(kind, "m.room.message" | "m.room.redaction") => None,
        4 | 5 if kind == "m.room.member" => Some((*input.choose(&USERS)?).to_owned()),
        _ if kind == "m.room.member" => Some(sender.to_owned()),
        _ => Some(String::new()),
    })
}

fn content(input: &mut Unstructured<'_>, kind: &str, version: RoomVersion) -> Result<Value> {
    let mut content = match kind {
        "m.room.create" => create(input, version)?,
        "m.room.member" => member(input)?,
        "m.room.power_levels" => power_levels(input)?,
        "m.room.join_rules" => {
            let allow = json!([{ "type": "m.room_membership", "room_id": "!hall:a.example" }]);
            json!({ "join_rule": input.choose(&JOIN_RULES)?, "allow": allow })
        }
        "m.room.third_party_invite" => json!({ "public_key": "x", "public_keys": [{ "public_key": "y" }] }),
        _ => json!({}),
    };
    // Now and then a field is of a type that nobody expects.
    if let Some(fields) = content.as_object_mut().filter(|fields| !fields.is_empty())
        && input.ratio(1_u8, 8)?
    {
        let names: Vec<String> = fields.keys().cloned().collect();
        let name = input.choose(&names)?.clone();
        fields.insert(name, any_value(input, 3)?);
    }
    Ok(content)
}

fn create(input: &mut Unstructured<'_>, version: RoomVersion) -> Result<Value> {
    let mut content = json!({ "room_version": version.as_str(), "creator": input.choose(&USERS)? });
    if input.ratio(1_u8, 4)? {
        content["m.federate"] = json!(input.arbitrary::<bool>()?);
    }
    if input.ratio(1_u8, 4)? {
        content["additional_creators"] = json!([input.choose(&USERS)?]);
    }
    Ok(content)
}

fn member(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut content = json!({ "membership": input.choose(&MEMBERSHIPS)? });
    if input.ratio(1_u8, 5)? {
        content["join_authorised_via_users_server"] = json!(input.choose(&USERS)?);
    }
    if input.ratio(1_u8, 8)? {
        let signed = json!({ "mxid": input.choose(&USERS)?, "token": "t", "signatures": { "x": { "ed25519:1": "y" } } });
        content["third_party_invite"] = json!({ "display_name": "x", "signed": signed });
    }
    Ok(content)
}

fn power_levels(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut content = Map::new();
    for _ in 0..input.int_in_range(0..=3_u8)? {
        content.insert((*input.choose(&LEVELS)?).to_owned(), level(input)?);
    }
    for (field, names) in [
        ("users", &USERS[..]),
        ("events", &KINDS),
        ("notifications", &["room"]),
    ] {
        let mut map = Map::new();
        for _ in 0..input.int_in_range(0..=3_u8)? {
            map.insert((*input.choose(names)?).to_owned(), level(input)?);
        }
        content.insert(field.to_owned(), map.into());
    }
    Ok(content.into())
}

fn level(input: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match input.int_in_range(0..=9_u8)? {
        0 => json!(input.arbitrary::<i64>()?),
        1 => json!((1_i64 << 53) - 1),
        2 => json!(1 - (1_i64 << 53)),
        3 => json!("50"),
        4 => json!(input.arbitrary::<i64>()?.to_string()),
        5 => any_value(input, 2)?,
        _ => json!(*input.choose(&[0, 1, 50, 99, 100])?),
    })
}

fn any_value(input: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    let kinds = if depth == 0 { 4 } else { 6 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => Value::Null,
        1 => json!(input.arbitrary::<bool>()?),
        2 => json!(input.arbitrary::<i64>()?),
        3 => json!(input.arbitrary::<String>()?),
        4 => json!(input.arbitrary::<f32>()?),
        5 => json!([any_value(input, depth - 1)?]),
        _ => json!({ (*input.choose(&USERS)?): any_value(input, depth - 1)? }),
    })
}
