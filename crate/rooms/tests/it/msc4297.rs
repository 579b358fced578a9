//! The problems that made state resolution 2.1, with the outcomes that MSC4297 states.

use std::collections::HashMap;

use hearth_rooms::{
    RoomVersion, StateMap,
    resolution::{self, resolve_maps},
};
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};
use ruma_events::TimelineEventType;
use ruma_state_res::Event;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event with a made-up id, as the fixtures have them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Plain {
    pub(crate) event_id: OwnedEventId,
    pub(crate) room_id: Option<OwnedRoomId>,
    pub(crate) sender: OwnedUserId,
    pub(crate) origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(rename = "type")]
    pub(crate) event_type: TimelineEventType,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Box<RawValue>,
    pub(crate) prev_events: Vec<OwnedEventId>,
    pub(crate) auth_events: Vec<OwnedEventId>,
    #[serde(default)]
    pub(crate) depth: u64,
}

impl Event for Plain {
    type Id = OwnedEventId;
    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }
    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }
    fn sender(&self) -> &UserId {
        &self.sender
    }
    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }
    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }
    fn content(&self) -> &RawValue {
        &self.content
    }
    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }
    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }
    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }
    fn redacts(&self) -> Option<&OwnedEventId> {
        None
    }
    fn rejected(&self) -> bool {
        false
    }
}

impl resolution::Event for Plain {
    fn depth(&self) -> u64 {
        self.depth
    }
}

fn resolved(version: RoomVersion, events: &str, states: [&str; 2]) -> Vec<String> {
    let events: Vec<Plain> = serde_json::from_str(events).unwrap();
    let events: HashMap<OwnedEventId, Option<Plain>> = events
        .into_iter()
        .map(|event| (event.event_id.clone(), Some(event)))
        .collect();
    let state = |ids: &str| -> StateMap {
        let ids: Vec<OwnedEventId> = serde_json::from_str(ids).unwrap();
        let entry = |id: OwnedEventId| {
            let event = events[&id].clone().unwrap();
            (
                (event.event_type.to_string().into(), event.state_key.unwrap()),
                id,
            )
        };
        ids.into_iter().map(entry).collect()
    };
    let lookup = |id: &EventId| Some((events.get(id)?.clone()?, None));
    let state = resolve_maps(version, &states.map(state), lookup).unwrap();
    let mut ids: Vec<String> = state.into_values().map(|id| id.to_string()).collect();
    ids.sort();
    ids
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/msc4297/", $name, ".json"))
    };
}

#[test]
fn problem_a_v2_loses_the_join_rules() {
    let states = [fixture!("a-state-bob"), fixture!("a-state-charlie")];
    assert_eq!(
        resolved(RoomVersion::V11, fixture!("a-pdus-v11"), states),
        [
            "$00-m-room-create",
            "$00-m-room-power_levels",
            "$01-m-room-member-change-display-name-bob",
            "$01-m-room-member-change-display-name-charlie",
            "$01-m-room-member-leave-alice",
        ]
    );
}

#[test]
fn problem_a_v2_1_keeps_the_join_rules() {
    let states = [fixture!("a-state-bob"), fixture!("a-state-charlie")];
    assert_eq!(
        resolved(RoomVersion::V12, fixture!("a-pdus-v12"), states),
        [
            "$00-m-room-create",
            "$00-m-room-power_levels",
            "$01-m-room-join_rules",
            "$01-m-room-member-change-display-name-bob",
            "$01-m-room-member-change-display-name-charlie",
            "$01-m-room-member-leave-alice",
        ]
    );
}

#[test]
fn problem_b_v2_resets_the_power_levels() {
    let states = [fixture!("b-state-eve"), fixture!("b-state-zara")];
    let state = resolved(RoomVersion::V11, fixture!("b-pdus-v11"), states);
    assert!(state.contains(&"$00-m-room-power_levels".into()), "{state:?}");
}

#[test]
fn problem_b_v2_1_keeps_the_power_levels() {
    let states = [fixture!("b-state-eve"), fixture!("b-state-zara")];
    assert_eq!(
        resolved(RoomVersion::V12, fixture!("b-pdus-v12"), states),
        [
            "$00-m-room-create",
            "$00-m-room-join_rules",
            "$00-m-room-member-join-alice",
            "$00-m-room-member-join-bob",
            "$00-m-room-member-join-charlie",
            "$00-m-room-member-join-zara",
            "$01-m-room-member-change-display-name-eve",
            "$02-m-room-power_levels",
        ]
    );
}
