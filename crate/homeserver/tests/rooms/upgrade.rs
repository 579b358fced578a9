//! Replacing rooms.

use std::pin::pin;

use futures::FutureExt as _;
use hearth_homeserver::{
    Error, RoomVersion,
    rooms::upgrade::UpgradeRoom,
    sync::{Filter, SyncRequest},
};
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{
    OwnedRoomId, RoomId, UserId,
    push::{
        EventMatchConditionData, NewConditionalPushRule, NewPushRule, NewSimplePushRule, PushCondition,
        RuleKind,
    },
};
use serde_json::{Value, json};

use crate::support::{Server, device, object, settle};

async fn upgrade(
    server: &Server,
    user: &UserId,
    room: &RoomId,
    request: Value,
) -> Result<OwnedRoomId, Error> {
    let request: UpgradeRoom = serde_json::from_value(request).unwrap();
    server.homeserver.upgrade_room(user, room, request).await
}

async fn levels(server: &Server, room: &RoomId) -> Value {
    server.state_content(room, "m.room.power_levels").await.unwrap()
}

#[tokio::test]
async fn every_version_is_replaced_by_every_other() {
    let server = Server::new().await;
    let alice = server.alice();
    for from in RoomVersion::ALL {
        for to in RoomVersion::ALL {
            let old = server
                .create(json!({ "room_version": from.as_str(), "name": "Hall", "preset": "public_chat" }))
                .await
                .unwrap();
            let request = json!({ "new_version": to.as_str() });
            let new = upgrade(&server, &alice, &old, request).await;
            let new = new.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            let create = server.state_content(&new, "m.room.create").await.unwrap();
            assert_eq!(create["room_version"], to.as_str());
            assert_eq!(create["predecessor"]["room_id"], old.as_str());
            let tombstone = server.state_content(&old, "m.room.tombstone").await.unwrap();
            assert_eq!(tombstone["replacement_room"], new.as_str());
            assert_eq!(
                server.state_content(&new, "m.room.name").await.unwrap()["name"],
                "Hall"
            );
            let rules = server.state_content(&new, "m.room.join_rules").await.unwrap();
            assert_eq!(rules["join_rule"], "public");
            server.say(&alice, &new, "1", "here").await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_predecessor_names_the_tombstone_where_ids_allow() {
    let server = Server::new().await;
    let alice = server.alice();
    for version in ["10", "12"] {
        let old = server.public_room().await;
        let new = upgrade(&server, &alice, &old, json!({ "new_version": version }))
            .await
            .unwrap();
        let create = server.state_content(&new, "m.room.create").await.unwrap();
        let tombstone = server.state(&old, "m.room.tombstone", "").await.unwrap();
        let expected = (version == "10").then(|| json!(tombstone.event_id));
        assert_eq!(create["predecessor"].get("event_id"), expected.as_ref());
    }
}

#[tokio::test]
async fn state_is_copied_and_the_old_room_is_muted() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server
        .create(json!({
            "preset": "public_chat", "room_version": "9", "topic": "News",
            "creation_content": { "type": "m.space", "m.federate": false, "org.example": "not copied" },
            "power_level_content_override": { "users": { alice.as_str(): "100", bob.as_str(): "7" }, "invite": "3" },
            "initial_state": [
                { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
                { "type": "m.room.server_acl", "content": { "allow": ["*"], "deny": ["evil"] } },
                { "type": "m.room.avatar", "content": { "url": "mxc://x/y" } },
                { "type": "m.space.child", "state_key": "!child:x", "content": { "via": ["x"] } },
                { "type": "m.space.child", "state_key": "!gone:x", "content": {} },
                { "type": "org.example", "content": { "not": "copied" } },
            ],
        }))
        .await
        .unwrap();
    server.join(&bob, &old).await.unwrap();
    let carol = server.user("carol");
    server
        .homeserver
        .ban_user(&alice, &old, &carol, Some("spam".into()))
        .await
        .unwrap();
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "11" }))
        .await
        .unwrap();
    for kind in [
        "m.room.encryption",
        "m.room.server_acl",
        "m.room.avatar",
        "m.room.topic",
        "m.room.join_rules",
        "m.room.guest_access",
        "m.room.history_visibility",
    ] {
        let (before, after) = (
            server.state_content(&old, kind).await,
            server.state_content(&new, kind).await,
        );
        assert!(before.is_some() && before == after, "{kind}: {after:?}");
    }
    let create = server.state_content(&new, "m.room.create").await.unwrap();
    assert_eq!(
        (&create["type"], &create["m.federate"]),
        (&json!("m.space"), &json!(false))
    );
    assert_eq!(create.get("org.example"), None);
    assert_eq!(server.state_content(&new, "org.example").await, None);
    let copied = levels(&server, &new).await;
    assert_eq!(copied["users"], json!({ alice.as_str(): 100, bob.as_str(): 7 }));
    assert_eq!(copied["invite"], 3);
    let child = |id| server.state(&new, "m.space.child", id);
    assert!(child("!child:x").await.is_some());
    assert!(child("!gone:x").await.is_none());
    assert_eq!(server.membership(&carol, &new).await, "ban");
    assert_eq!(server.membership(&bob, &new).await, "leave");
    let muted = levels(&server, &old).await;
    assert_eq!(
        (&muted["events_default"], &muted["invite"]),
        (&json!(50), &json!(50))
    );
    assert!(matches!(
        server.say(&bob, &old, "1", "hello?").await,
        Err(Error::Forbidden(_))
    ));
    server.join(&bob, &new).await.unwrap();
    server.say(&bob, &new, "1", "hello").await.unwrap();
}

#[tokio::test]
async fn creators_of_version_12_have_no_level() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server
        .create(json!({
            "preset": "public_chat", "room_version": "11",
            "power_level_content_override": { "users": { alice.as_str(): 100, bob.as_str(): 100, "@x:y": 50 } },
        }))
        .await
        .unwrap();
    let request = json!({ "new_version": "12", "additional_creators": [bob] });
    let new = upgrade(&server, &alice, &old, request).await.unwrap();
    let create = server.state_content(&new, "m.room.create").await.unwrap();
    assert_eq!(create["additional_creators"], json!([bob]));
    let copied = levels(&server, &new).await;
    assert_eq!(copied["users"], json!({ "@x:y": 50 }));
    assert_eq!(copied["events"]["m.room.tombstone"], 150);
    let again = upgrade(&server, &alice, &new, json!({ "new_version": "12" }))
        .await
        .unwrap();
    let create = server.state_content(&again, "m.room.create").await.unwrap();
    assert_eq!(
        create.get("additional_creators"),
        None,
        "they have to be named anew"
    );
    let back = upgrade(&server, &alice, &again, json!({ "new_version": "10" }))
        .await
        .unwrap();
    server.say(&alice, &back, "1", "still here").await.unwrap();
}

#[tokio::test]
async fn creators_have_the_highest_level_where_they_are_not_above_all() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server
        .create(json!({
            "preset": "public_chat", "room_version": "12", "creation_content": { "additional_creators": [bob] },
            "power_level_content_override": { "users": { "@x:y": 120 } },
        }))
        .await
        .unwrap();
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "11" }))
        .await
        .unwrap();
    assert_eq!(
        levels(&server, &new).await["users"],
        json!({ alice.as_str(): 150, bob.as_str(): 150, "@x:y": 120 })
    );
    server.join(&bob, &new).await.unwrap();
    let tombstone = json!({ "body": "closed", "replacement_room": old });
    for user in [&alice, &bob] {
        server
            .set(user, &new, "m.room.tombstone", tombstone.clone())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn who_has_just_the_power_for_the_tombstone_may_replace_a_room() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server
        .create(json!({
            "preset": "public_chat", "room_version": "10",
            "power_level_content_override": {
                "users": { alice.as_str(): 100, bob.as_str(): 60 },
                "events": { "m.room.tombstone": 60, "m.room.power_levels": 100, "m.room.name": 90 },
            },
        }))
        .await
        .unwrap();
    server.join(&bob, &old).await.unwrap();
    server
        .set(&alice, &old, "m.room.name", json!({ "name": "Hall" }))
        .await
        .unwrap();
    let new = upgrade(&server, &bob, &old, json!({ "new_version": "10" }))
        .await
        .unwrap();
    assert_eq!(
        server.state_content(&new, "m.room.name").await.unwrap()["name"],
        "Hall"
    );
    let copied = levels(&server, &new).await;
    assert_eq!(
        copied["users"],
        json!({ alice.as_str(): 100, bob.as_str(): 60 }),
        "raised only for the copy"
    );
    assert_eq!(
        levels(&server, &old).await["events_default"],
        0,
        "bob may not change the old levels"
    );
    let tombstone = server.state_content(&old, "m.room.tombstone").await.unwrap();
    assert_eq!(tombstone["replacement_room"], new.as_str());
}

#[tokio::test]
async fn join_rules_are_copied_as_far_as_the_version_knows_them() {
    let server = Server::new().await;
    let hall = server.public_room().await;
    let rules = json!({
        "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }],
    });
    let old = server
        .create(json!({
            "room_version": "9",
            "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
        }))
        .await
        .unwrap();
    let bob = server.bob();
    server.join(&bob, &hall).await.unwrap();
    let newer = upgrade(&server, &server.alice(), &old, json!({ "new_version": "12" }))
        .await
        .unwrap();
    assert_eq!(
        server.state_content(&newer, "m.room.join_rules").await.unwrap(),
        rules
    );
    server.join(&bob, &newer).await.unwrap();
    let older = upgrade(&server, &server.alice(), &newer, json!({ "new_version": "6" }))
        .await
        .unwrap();
    let fallen = server.state_content(&older, "m.room.join_rules").await.unwrap();
    assert_eq!(
        fallen,
        json!({ "join_rule": "invite" }),
        "version 6 has no restricted rooms"
    );
}

#[tokio::test]
async fn aliases_and_the_directory_move() {
    let server = Server::new().await;
    let alice = server.alice();
    let old = server
        .create(json!({ "preset": "public_chat", "visibility": "public", "room_alias_name": "hall", "room_version": "11" }))
        .await
        .unwrap();
    let name = server.homeserver.server_name();
    let (hall, side) = (format!("#hall:{name}"), format!("#side:{name}"));
    server
        .homeserver
        .set_alias(&alice, side.as_str().try_into().unwrap(), &old)
        .await
        .unwrap();
    server
        .set(
            &alice,
            &old,
            "m.room.canonical_alias",
            json!({ "alias": hall, "alt_aliases": [side] }),
        )
        .await
        .unwrap();
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "12" }))
        .await
        .unwrap();
    for alias in [&hall, &side] {
        let (found, _) = server
            .homeserver
            .local_alias(alias.as_str().try_into().unwrap())
            .await
            .unwrap();
        assert_eq!(found, new);
    }
    let canonical = server
        .state_content(&new, "m.room.canonical_alias")
        .await
        .unwrap();
    assert_eq!(canonical, json!({ "alias": hall, "alt_aliases": [side] }));
    assert_eq!(
        server
            .state_content(&old, "m.room.canonical_alias")
            .await
            .unwrap(),
        json!({})
    );
    assert!(server.homeserver.is_published(&new).await.unwrap());
    assert!(!server.homeserver.is_published(&old).await.unwrap());
}

#[tokio::test]
async fn what_may_not_be_replaced_stays_and_nothing_is_made() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server.public_room().await;
    server.join(&bob, &old).await.unwrap();
    let before = server.timeline(&old).await;
    let denied = upgrade(&server, &bob, &old, json!({ "new_version": "12" })).await;
    assert!(matches!(denied, Err(Error::Forbidden(_))), "{denied:?}");
    let unknown = upgrade(&server, &alice, &old, json!({ "new_version": "99" })).await;
    assert!(
        matches!(unknown, Err(Error::UnsupportedRoomVersion(_))),
        "{unknown:?}"
    );
    let nowhere = RoomId::parse("!nowhere:example.org").unwrap();
    let nowhere = upgrade(&server, &alice, &nowhere, json!({ "new_version": "12" })).await;
    assert!(matches!(nowhere, Err(Error::NotFound(_))), "{nowhere:?}");
    assert_eq!(server.timeline(&old).await, before);
    assert_eq!(server.homeserver.joined_rooms(&alice).len(), 1);
    assert_eq!(server.state_content(&old, "m.room.tombstone").await, None);
}

#[tokio::test]
async fn absurd_levels_do_not_stop_a_replacement() {
    let server = Server::new().await;
    let alice = server.alice();
    let old = server
        .create(json!({
            "preset": "public_chat", "room_version": "6",
            "power_level_content_override": {
                "users": { alice.as_str(): 9_007_199_254_740_991_i64, "@top:x": "9007199254740991" },
                "users_default": -9_007_199_254_740_991_i64, "kick": "-9007199254740991",
                "notifications": { "room": "20" },
            },
        }))
        .await
        .unwrap();
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "11" }))
        .await
        .unwrap();
    let copied = object(levels(&server, &new).await);
    assert_eq!(
        copied["users"],
        json!({ alice.as_str(): 9_007_199_254_740_991_i64, "@top:x": 9_007_199_254_740_991_i64 })
    );
    assert_eq!(copied["kick"], -9_007_199_254_740_991_i64);
    assert_eq!(copied["notifications"], json!({ "room": 20 }));
}

/// What a user keeps for a room: a tag, the mark of a direct chat, and rules that mute it.
async fn keep(server: &Server, user: &UserId, room: &RoomId) {
    let homeserver = &server.homeserver;
    let tags = object(json!({ "tags": { "m.favourite": { "order": 0.5 } } }));
    homeserver
        .set_account_data(user, Some(room), "m.tag", tags)
        .await
        .unwrap();
    let direct = object(json!({ "@friend:x": [room, "!else:x"], "@other:x": ["!else:x"] }));
    homeserver
        .set_account_data(user, None, "m.direct", direct)
        .await
        .unwrap();
    let condition = EventMatchConditionData::new("room_id".into(), room.to_string());
    let condition = vec![PushCondition::EventMatch(condition)];
    for rule in [
        NewPushRule::Room(NewSimplePushRule::new(room.to_owned(), vec![])),
        NewPushRule::Override(NewConditionalPushRule::new(
            room.to_string(),
            condition.clone(),
            vec![],
        )),
        NewPushRule::Override(NewConditionalPushRule::new("quiet".into(), condition, vec![])),
        NewPushRule::Override(NewConditionalPushRule::new("unrelated".into(), vec![], vec![])),
    ] {
        homeserver.put_push_rule(user, rule, None, None).await.unwrap();
    }
}

/// What `user` has for `room`: its tags, the users whose direct chat it is, and the rules that are for it alone.
async fn kept(server: &Server, user: &UserId, room: &RoomId) -> (Value, Vec<String>, Vec<String>) {
    let homeserver = &server.homeserver;
    let tags = homeserver.account_data(user, Some(room), "m.tag").await.unwrap();
    let direct = homeserver.account_data(user, None, "m.direct").await.unwrap();
    let has_room = |rooms: &Value| rooms.as_array().unwrap().contains(&json!(room));
    let direct = direct.unwrap_or_default().into_iter();
    let friends = direct
        .filter(|(_, rooms)| has_room(rooms))
        .map(|(friend, _)| friend);
    let rules = homeserver.push_rules(user).await.unwrap();
    let rule_room = rules.get(RuleKind::Room, room).map(|_| "room".to_owned());
    let is_for_room = |condition: &PushCondition| matches!(condition, PushCondition::EventMatch(field) if field.pattern == room.as_str());
    let overrides = rules.override_.iter();
    let overrides = overrides.filter(|rule| rule.conditions.iter().any(is_for_room));
    let overrides = overrides.map(|rule| rule.rule_id.clone());
    (
        tags.map_or(Value::Null, Value::Object),
        friends.collect(),
        rule_room.into_iter().chain(overrides).collect(),
    )
}

fn expected(new: &RoomId) -> (Value, Vec<String>, Vec<String>) {
    (
        json!({ "tags": { "m.favourite": { "order": 0.5 } } }),
        vec!["@friend:x".into()],
        vec!["room".into(), format!("quiet.{new}"), new.to_string()],
    )
}

/// The types of account data that a `/sync` tells, of `room` and global; and where the next one begins.
async fn told(server: &Server, user: &UserId, room: &RoomId, since: Option<&str>) -> (Value, String) {
    let request = SyncRequest {
        since: since.map(|since| since.parse().unwrap()),
        filter: Filter::parse("{}").unwrap(),
        ..SyncRequest::default()
    };
    let answer = server.homeserver.sync(user, device(), request).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let kinds = |data: &Value| {
        let events = data["account_data"]["events"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut kinds: Vec<_> = events
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    };
    let told = json!([kinds(&answer["rooms"]["join"][room.as_str()]), kinds(&answer)]);
    (told, answer["next_batch"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_a_user_kept_for_a_room_holds_for_its_replacement() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.alice(), server.bob(), server.user("carol"));
    let old = server.public_room().await;
    server.join(&bob, &old).await.unwrap();
    for user in [&alice, &bob, &carol] {
        keep(&server, user, &old).await;
    }
    let (_, alice_since) = told(&server, &alice, &old, None).await;
    let (_, bob_since) = told(&server, &bob, &old, None).await;
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "12" }))
        .await
        .unwrap();
    let everything = json!([["m.tag"], ["m.direct", "m.push_rules"]]);
    assert_eq!(kept(&server, &alice, &new).await, expected(&new));
    assert_eq!(
        told(&server, &alice, &new, Some(&alice_since)).await.0,
        everything
    );
    assert_eq!(
        kept(&server, &bob, &new).await,
        (Value::Null, vec![], vec![]),
        "who is not there yet"
    );
    server.join(&bob, &new).await.unwrap();
    assert_eq!(kept(&server, &bob, &new).await, expected(&new));
    assert_eq!(told(&server, &bob, &new, Some(&bob_since)).await.0, everything);
    // What was kept for the old room stays.
    assert_eq!(kept(&server, &bob, &old).await.0, expected(&new).0);
    server.join(&carol, &new).await.unwrap();
    assert_eq!(
        kept(&server, &carol, &new).await,
        (Value::Null, vec![], vec![]),
        "who never was in the old room"
    );
}

#[tokio::test]
async fn what_a_user_changed_in_a_replacement_stays_when_they_return() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let old = server.public_room().await;
    server.join(&bob, &old).await.unwrap();
    keep(&server, &bob, &old).await;
    let new = upgrade(&server, &alice, &old, json!({ "new_version": "12" }))
        .await
        .unwrap();
    // A membership that is set as state is a join like any other.
    let join = object(json!({ "membership": "join" }));
    server
        .homeserver
        .send_state(&bob, &new, "m.room.member", bob.as_str(), join)
        .await
        .unwrap();
    assert_eq!(kept(&server, &bob, &new).await, expected(&new));
    let homeserver = &server.homeserver;
    homeserver
        .delete_account_data(&bob, Some(&new), "m.tag")
        .await
        .unwrap();
    homeserver
        .set_account_data(&bob, None, "m.direct", object(json!({ "@friend:x": [old] })))
        .await
        .unwrap();
    homeserver
        .delete_push_rule(&bob, RuleKind::Room, new.as_str())
        .await
        .unwrap();
    homeserver.leave_room(&bob, &new, None).await.unwrap();
    server.join(&bob, &new).await.unwrap();
    let (tags, friends, rules) = kept(&server, &bob, &new).await;
    assert_eq!((tags, friends), (Value::Null, vec![]));
    assert_eq!(rules, expected(&new).2[1..]);
}

/// Another server cannot move them: here the replacement is made without an upgrade.
#[tokio::test]
async fn names_follow_whoever_joins_a_replacement() {
    let server = Server::new().await;
    let (alice, bob, homeserver) = (server.alice(), server.bob(), &server.homeserver);
    let request = json!({ "preset": "public_chat", "visibility": "public", "room_alias_name": "hall" });
    let old = server.create(request).await.unwrap();
    server.join(&bob, &old).await.unwrap();
    let request =
        json!({ "preset": "public_chat", "creation_content": { "predecessor": { "room_id": old } } });
    let new = server.create(request).await.unwrap();
    let hall = format!("#hall:{}", homeserver.server_name());
    let hall = hall.as_str().try_into().unwrap();
    assert_eq!(homeserver.local_alias(hall).await.unwrap().0, old);
    let tombstone = json!({ "replacement_room": new });
    server
        .set(&alice, &old, "m.room.tombstone", tombstone)
        .await
        .unwrap();
    server.join(&bob, &new).await.unwrap();
    assert_eq!(homeserver.local_alias(hall).await.unwrap().0, new);
    assert!(homeserver.is_published(&new).await.unwrap());
    assert!(!homeserver.is_published(&old).await.unwrap());
}

#[tokio::test]
async fn no_room_replaces_itself() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let tombstone = json!({ "replacement_room": room });
    let refused = server.set(&alice, &room, "m.room.tombstone", tombstone).await;
    assert!(matches!(refused, Err(Error::InvalidParam(_))), "{refused:?}");
}

#[tokio::test]
async fn a_room_that_merely_says_to_replace_another_gets_nothing() {
    let server = Server::new().await;
    let bob = server.bob();
    let request = json!({ "preset": "public_chat", "visibility": "public" });
    let old = server.create(request).await.unwrap();
    server.join(&bob, &old).await.unwrap();
    keep(&server, &bob, &old).await;
    let request =
        json!({ "preset": "public_chat", "creation_content": { "predecessor": { "room_id": old } } });
    let false_one = server.create(request).await.unwrap();
    let create = server.state_content(&false_one, "m.room.create").await.unwrap();
    assert_eq!(create["predecessor"]["room_id"], old.as_str());
    server.join(&bob, &false_one).await.unwrap();
    assert_eq!(
        kept(&server, &bob, &false_one).await,
        (Value::Null, vec![], vec![])
    );
    assert!(server.homeserver.is_published(&old).await.unwrap());
}

#[tokio::test]
async fn whoever_waits_for_members_keeps_nobody_from_making_rooms() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let rows = &server.store.rows;
    let row = rows.get(Table::Rooms, room.as_bytes()).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&row).unwrap();
    record["partial"] = json!({ "join": record["extremities"][0], "taken_in": 1 });
    let mut batch = WriteBatch::new();
    batch.put(Table::Rooms, room.as_bytes(), record.to_string());
    rows.commit(batch).await.unwrap();
    let server = server.restarted().await;
    let request = json!({ "new_version": "12" });
    let refused = upgrade(&server, &bob, &room, request.clone()).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))));
    let mut waiting = pin!(upgrade(&server, &alice, &room, request));
    let mut making = pin!(server.public_room());
    let mut made = None;
    for _ in 0..10 {
        assert!(
            waiting.as_mut().now_or_never().is_none(),
            "the members are not there"
        );
        made = made.or_else(|| making.as_mut().now_or_never());
        if made.is_some() {
            break;
        }
        settle().await;
    }
    assert!(made.is_some());
}
