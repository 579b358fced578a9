//! Events that wait for what came before them: whom they make a server ask, and how often.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table};
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, json_of},
    soon, world_with_room,
};

/// Rooms for events to be invented in.
struct Scene {
    world: World,
    clients: Vec<Client>,
    room: String,
    /// The ids of the room's state, by type and key.
    state: Vec<(String, String, String)>,
}

impl Scene {
    /// A public room of users of `servers` servers.
    fn new(seed: u64, servers: usize) -> Self {
        let (world, clients, room) = world_with_room(seed, servers);
        let mut scene = Self {
            world,
            clients,
            room,
            state: Vec::new(),
        };
        scene.look();
        scene
    }

    /// Notes the state as it is.
    fn look(&mut self) {
        self.state = self.clients[0].state(&self.world, &self.room);
    }

    /// A server whose user has joined, and the id of that join.
    fn member(&mut self) -> (Outsider, String) {
        let mallory = Outsider::new(77);
        mallory.join(&self.world, &self.room);
        soon(&self.world);
        self.look();
        let own = self.id("m.room.member", &mallory.user_id);
        (mallory, own)
    }

    /// The second of two messages of a member, and whether its server, which alone has the first, is ill.
    fn after_missing(&self, author: &Outsider, own: &str) -> (Pdu, Arc<AtomicBool>) {
        let first = self.message(author, own, own, "first");
        let second = self.message(author, first.event_id().as_str(), own, "second");
        (second, gives_once_well(self, author, &first))
    }

    /// After a while the server of `author` is well, and is heard: then it is asked for the first message.
    fn assert_asked_once_well(&self, author: &Outsider, is_ill: &AtomicBool) {
        self.world.run_for(Duration::from_secs(100));
        is_ill.store(false, Ordering::Relaxed);
        author.transaction(&self.world, "here", Vec::new()).expect(200);
        soon(&self.world);
        let messages = self.clients[0].messages(&self.world, &self.room);
        assert_eq!(messages, ["first", "second"]);
    }

    fn id(&self, kind: &str, key: &str) -> String {
        let mut entries = self.state.iter();
        let entry = entries.find(|entry| entry.0 == kind && entry.1 == key);
        entry.unwrap().2.clone()
    }

    /// What somebody says after `prev`, which is allowed by the power levels and `auth`.
    fn message(&self, author: &Outsider, prev: &str, auth: &str, text: &str) -> Pdu {
        let message = json!({
            "type": "m.room.message", "content": {"msgtype": "m.text", "body": text},
            "auth_events": [self.id("m.room.power_levels", ""), auth],
        });
        self.sign(author, prev, message)
    }

    /// The join of `name`, a user of the server of `author`.
    fn join(&self, author: &Outsider, prev: &str, name: &str) -> Pdu {
        let user_id = author.user_id.replace("mallory", name);
        let join = json!({
            "type": "m.room.member", "state_key": user_id, "sender": user_id, "content": {"membership": "join"},
            "auth_events": [self.id("m.room.power_levels", ""), self.id("m.room.join_rules", "")],
        });
        self.sign(author, prev, join)
    }

    fn sign(&self, author: &Outsider, prev: &str, mut event: Value) -> Pdu {
        event["room_id"] = json!(self.room);
        event["prev_events"] = json!([prev]);
        event["depth"] = json!(50);
        event["origin_server_ts"] = json!(1_700_000_000_000_u64);
        if event["sender"].is_null() {
            event["sender"] = json!(author.user_id);
        }
        author.sign(RoomVersion::V12, event)
    }

    /// Sends an event in a transaction of its own.
    fn tell(&self, origin: &Outsider, pdu: &Pdu) {
        let answer = origin.transaction(&self.world, pdu.event_id().as_str(), vec![json_of(pdu)]);
        assert_eq!(answer.expect(200)["pdus"][pdu.event_id().as_str()], json!({}));
    }

    /// What server 0 has asked those servers that `concerns` says, after the first `before` requests: but for heads.
    fn asked(&self, before: usize, concerns: impl Fn(&str) -> bool) -> Vec<String> {
        let asked = self.world.traffic().split_off(before);
        let own = asked.iter().filter(|asked| {
            asked.from == self.world.server(0).name()
                && !asked.request.contains("/heads")
                && !asked.request.contains("/send/")
        });
        let own = own.filter(|asked| concerns(&asked.to));
        own.map(|asked| asked.request.clone()).collect()
    }

    /// How many events server 0 holds.
    fn held(&self) -> usize {
        self.held_bytes().len()
    }

    /// How many bytes each of the events takes that server 0 holds.
    fn held_bytes(&self) -> Vec<usize> {
        let store = self.world.server(0).store().clone();
        let range = KeyRange::prefix(b"h\0");
        let rows = self.world.block_on(async move {
            store
                .scan(Table::Federation, range, Direction::Forward, usize::MAX)
                .await
        });
        rows.unwrap().into_iter().map(|(_, row)| row.len()).collect()
    }

    fn is_stored(&self, pdu: &Pdu) -> bool {
        let homeserver = self.world.server(0).homeserver().unwrap().clone();
        let id = pdu.event_id().to_owned();
        let stored = self
            .world
            .block_on(async move { homeserver.stored_event(&id).await });
        stored.unwrap().is_some()
    }
}

/// The id of an event that there is not.
fn nothing(number: usize) -> String {
    format!("${number:043}")
}

/// Lets the server of `author`, as long as it is not ill, give `first` as all that came before.
fn gives_once_well(scene: &Scene, author: &Outsider, first: &Pdu) -> Arc<AtomicBool> {
    let is_ill = Arc::new(AtomicBool::new(true));
    let (ill, given) = (is_ill.clone(), json!({ "events": [json_of(first)] }));
    scene
        .world
        .stand_in(author.identity.server_name(), move |path, _| {
            let is_given = path.contains("/get_missing_events/") && !ill.load(Ordering::Relaxed);
            Some(match is_given {
                true => (200, given.clone()),
                false => (500, json!({ "errcode": "M_UNKNOWN", "error": "ill" })),
            })
        });
    is_ill
}

#[test]
fn who_makes_itself_heard_makes_nobody_ask_others() {
    let mut scene = Scene::new(130, 4);
    let (mallory, own) = scene.member();
    scene.tell(&mallory, &scene.message(&mallory, &nothing(0), &own, "?"));
    let before = scene.world.request_count();
    for number in 0..100 {
        scene.world.run_for(Duration::from_secs(3));
        let empty = format!("empty-{number}");
        mallory.transaction(&scene.world, &empty, Vec::new()).expect(200);
    }
    let name = mallory.identity.server_name();
    let others = scene.asked(before, |to| to != name);
    // Two others each time, with ever longer pauses, and both for the events and for the state.
    assert!((1..=30).contains(&others.len()), "{others:?}");
    assert!(scene.asked(before, |to| to == name).len() > 50);
}

#[test]
fn who_comes_online_is_asked_at_once() {
    let mut scene = Scene::new(131, 2);
    let (mallory, own) = scene.member();
    let (second, is_ill) = scene.after_missing(&mallory, &own);
    scene.tell(&mallory, &second);
    scene.assert_asked_once_well(&mallory, &is_ill);
}

#[test]
fn what_a_stranger_passes_on_does_not_keep_its_author_from_being_asked() {
    let mut scene = Scene::new(132, 2);
    let stranger = Outsider::new(78);
    let (mallory, own) = scene.member();
    let (second, is_ill) = scene.after_missing(&mallory, &own);
    scene.tell(&stranger, &second);
    scene.tell(&mallory, &second);
    scene.assert_asked_once_well(&mallory, &is_ill);
    scene.world.settle();
    assert_eq!(scene.held(), 0);
}

#[test]
fn strangers_who_send_ever_more_are_not_asked_more_often() {
    let scene = Scene::new(133, 2);
    let stranger = Outsider::new(77);
    let before = scene.world.request_count();
    for number in 0..40 {
        let message = scene.message(&stranger, &nothing(number), &nothing(number + 100), "?");
        scene.tell(&stranger, &message);
        scene.world.run_for(Duration::from_secs(9));
    }
    let asked = scene.asked(before, |_| true);
    assert!((1..10).contains(&asked.len()), "{asked:?}");
}

#[test]
fn nobody_is_asked_for_the_past_of_a_join_that_is_not_allowed() {
    let mut scene = Scene::new(134, 2);
    let rule = json!({"join_rule": "invite"});
    scene.clients[0]
        .set_state(&scene.world, &scene.room, "m.room.join_rules", "", &rule)
        .expect(200);
    soon(&scene.world);
    scene.look();
    let before = scene.world.request_count();
    let stranger = Outsider::new(77);
    scene.tell(&stranger, &scene.join(&stranger, &nothing(0), "mallory"));
    scene.world.run_for(Duration::from_secs(120));
    let asked = scene.asked(before, |_| true);
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn what_somebody_banned_says_is_not_held() {
    let mut scene = Scene::new(135, 2);
    let (mallory, own) = scene.member();
    scene.clients[0]
        .ban(&scene.world, &scene.room, &mallory.user_id)
        .expect(200);
    soon(&scene.world);
    let before = scene.world.request_count();
    scene.tell(&mallory, &scene.message(&mallory, &nothing(0), &own, "?"));
    scene.world.run_for(Duration::from_secs(30));
    assert_eq!(scene.held(), 0);
    let asked = scene.asked(before, |_| true);
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn what_couriers_add_to_an_event_is_not_held() {
    let mut scene = Scene::new(138, 1);
    let (mallory, own) = scene.member();
    let mut sent = json_of(&scene.message(&mallory, &nothing(0), &own, "?"));
    sent["unsigned"] = json!({ "padding": "x".repeat(1 << 20) });
    mallory.transaction(&scene.world, "1", vec![sent]).expect(200);
    let held = scene.held_bytes();
    assert!(matches!(held[..], [..4096]), "{held:?}");
}

#[test]
fn a_stranger_gives_little_of_what_its_event_rests_on() {
    for (count, is_kept) in [(40, true), (60, false)] {
        let scene = Scene::new(136, 1);
        let stranger = Outsider::new(77);
        // Each rests on the one before it.
        let mut chain = vec![scene.join(&stranger, &nothing(0), "mallory")];
        for number in 1..count {
            let auth = [
                scene.id("m.room.power_levels", ""),
                scene.id("m.room.join_rules", ""),
                chain[number - 1].event_id().to_string(),
            ];
            let again = json!({
                "type": "m.room.member", "state_key": stranger.user_id, "auth_events": auth,
                "content": {"membership": "join", "displayname": number.to_string()},
            });
            chain.push(scene.sign(&stranger, &nothing(number), again));
        }
        let last = chain.last().unwrap().event_id().to_string();
        let given: Vec<_> = chain.iter().map(json_of).collect();
        scene
            .world
            .stand_in(stranger.identity.server_name(), move |path, _| {
                Some(match path.contains("/event_auth/") {
                    true => (200, json!({ "auth_chain": given })),
                    false => (404, json!({ "errcode": "M_NOT_FOUND" })),
                })
            });
        scene.tell(&stranger, &scene.message(&stranger, &nothing(99), &last, "?"));
        scene.world.run_for(Duration::from_secs(60));
        let kept: Vec<_> = chain.iter().map(|pdu| scene.is_stored(pdu)).collect();
        assert_eq!(kept, vec![is_kept; count]);
    }
}

#[test]
fn a_stranger_gives_little_of_the_state_before_its_join() {
    for (count, is_kept) in [(40, true), (60, false)] {
        let scene = Scene::new(137, 1);
        let stranger = Outsider::new(77);
        let member = |number: usize| scene.join(&stranger, &nothing(number), &format!("user{number}"));
        let members: Vec<_> = (0..count).map(member).collect();
        let held = scene.state.iter().map(|entry| entry.2.clone());
        let ids = held.chain(members.iter().map(|pdu| pdu.event_id().to_string()));
        let (ids, given) = (ids.collect::<Vec<_>>(), members.iter().map(json_of));
        let given: Vec<_> = given.collect();
        // What it says of the gap rests on what nobody here knows.
        let earlier = scene.message(&stranger, &nothing(98), &nothing(97), "earlier");
        let join = scene.join(&stranger, earlier.event_id().as_str(), "mallory");
        let gap = json!({ "events": [json_of(&earlier)] });
        scene
            .world
            .stand_in(stranger.identity.server_name(), move |path, _| {
                Some(match () {
                    () if path.contains("/get_missing_events/") => (200, gap.clone()),
                    () if path.contains("/state_ids/") => {
                        (200, json!({ "pdu_ids": ids, "auth_chain_ids": [] }))
                    }
                    () if path.contains("/org.hearth/events/") => (200, json!({ "pdus": given })),
                    () => (404, json!({ "errcode": "M_NOT_FOUND" })),
                })
            });
        let before = scene.world.request_count();
        scene.tell(&stranger, &join);
        scene.world.run_for(Duration::from_secs(60));
        let kept: Vec<_> = members.iter().map(|pdu| scene.is_stored(pdu)).collect();
        assert_eq!(kept, vec![is_kept; count]);
        let asked = scene.asked(before, |_| true);
        assert!(
            asked.iter().any(|asked| asked.contains("/state_ids/")),
            "{asked:?}"
        );
        assert!(
            !asked.iter().any(|asked| asked.contains("/event_auth/")),
            "{asked:?}"
        );
    }
}
