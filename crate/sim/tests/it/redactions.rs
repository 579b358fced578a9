//! Redactions by who had the power for it, and has it no more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hearth_rooms::RoomVersion;
use hearth_sim::{Client, World};
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, encode, json_of},
    soon, world_with_room,
};

/// Gives `user_id` in alice's room that power.
fn give_power(world: &World, alice: &Client, room: &str, user_id: &str, power: u8) {
    let levels = json!({ "users": { user_id: power }, "redact": 50 });
    alice
        .set_state(world, room, "m.room.power_levels", "", &levels)
        .expect(200);
}

fn redact(world: &World, client: &Client, room: &str, event_id: &str) {
    let path = format!("/rooms/{}/redact/{}/txn", encode(room), encode(event_id));
    client.put(world, &path, &json!({})).expect(200);
}

fn event_id(answer: &Value) -> String {
    answer["event_id"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_redacted_before_its_author_was_demoted_is_so_for_who_missed_both() {
    let (world, clients, room) = world_with_room(90, 3);
    let [alice, bob, dave] = &clients[..] else {
        panic!()
    };
    let carol = world.register(0, "carol");
    carol.join(&world, &room, &[]).expect(200);
    let regretted = event_id(dave.send(&world, &room, "regretted").expect(200));
    soon(&world);
    world.cut(0, 1);
    give_power(&world, alice, &room, &carol.user_id, 50);
    redact(&world, &carol, &room, &regretted);
    give_power(&world, alice, &room, &carol.user_id, 0);
    let sent: Vec<_> = (0..120).map(|n| n.to_string()).collect();
    for text in &sent {
        alice.send(&world, &room, text).expect(200);
    }
    soon(&world);
    dave.send(&world, &room, "after").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, &room), [sent, vec!["after".into()]].concat());
}

#[test]
fn who_was_demoted_redacts_nothing_by_a_gap() {
    let (world, clients, room) = world_with_room(91, 1);
    let (alice, mallory) = (&clients[0], Outsider::new(77));
    let kept = event_id(alice.send(&world, &room, "kept").expect(200));
    mallory.join(&world, &room);
    let id = |kind: &str, key: &str| json!(alice.state_id(&world, &room, kind, key));
    let own = id("m.room.member", &mallory.user_id);
    let sign = |kind: &str, prev: &[&Value], auth: &[&Value], depth: u64, content: Value| {
        let event = mallory.sign(
            RoomVersion::V12,
            json!({
                "type": kind, "room_id": room, "sender": mallory.user_id, "depth": depth, "content": content,
                "origin_server_ts": 1_700_000_000_000_u64, "prev_events": prev, "auth_events": auth,
            }),
        );
        (json!(event.event_id()), json_of(&event))
    };
    give_power(&world, alice, &room, &mallory.user_id, 50);
    let promotion = id("m.room.power_levels", "");
    let redaction = sign(
        "m.room.redaction",
        &[&promotion],
        &[&promotion, &own],
        20,
        json!({ "redacts": kept }),
    );
    give_power(&world, alice, &room, &mallory.user_id, 0);
    let demotion = id("m.room.power_levels", "");
    let message = json!({ "msgtype": "m.text", "body": "late" });
    let late = sign(
        "m.room.message",
        &[&demotion, &redaction.0],
        &[&demotion, &own],
        21,
        message,
    );
    let state_at = |event: &Value| {
        let event = encode(event.as_str().unwrap());
        let uri = format!(
            "/_matrix/federation/v1/state_ids/{}?event_id={event}",
            encode(&room)
        );
        mallory.ask(&world, "GET", &uri, None).expect(200).clone()
    };
    let (mut before, mut now) = (state_at(&promotion), state_at(&demotion));
    for (state, levels) in [(&mut before, &promotion), (&mut now, &demotion)] {
        let state = state["pdu_ids"].as_array_mut().unwrap();
        state.retain(|id| id != &promotion && id != &demotion);
        state.push(levels.clone());
    }
    let gives_history = Arc::new(AtomicBool::new(false));
    let gives = gives_history.clone();
    let (asked_for, page) = (late.0.clone(), json!({ "pdus": [redaction.1] }));
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        let is_late = uri.replace("%24", "$").contains(asked_for.as_str().unwrap());
        Some(match uri {
            _ if uri.contains("/state_ids/") && is_late => (200, now.clone()),
            _ if uri.contains("/state_ids/") => (200, before.clone()),
            _ if uri.contains("/backfill/") && gives.load(Ordering::Relaxed) => (200, page.clone()),
            _ => (404, json!({ "errcode": "M_NOT_FOUND", "error": "no" })),
        })
    });
    mallory.transaction(&world, "1", vec![late.1]).expect(200);
    soon(&world);
    // It comes when the power levels have been changed once more.
    give_power(&world, alice, &room, &mallory.user_id, 1);
    gives_history.store(true, Ordering::Relaxed);
    assert_eq!(alice.messages(&world, &room), ["kept", "late"]);
    let redacted = redaction.0.as_str().unwrap();
    let homeserver = world.server(0).homeserver().unwrap().clone();
    let redacted = ruma_common::EventId::parse(redacted).unwrap();
    let stored = world.block_on(async move { homeserver.stored_event(&redacted).await });
    assert!(
        stored.unwrap().unwrap().decision.order.is_some(),
        "it came as history"
    );
}
