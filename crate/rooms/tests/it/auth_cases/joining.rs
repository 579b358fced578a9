//! Joining and knocking, by the join rules.

use hearth_rooms::RoomVersion;

use super::{
    Allowed::{Always, From, Never},
    BAN, INVITE, JOIN, KNOCK, LEAVE, Said, Scene, case, check, levels, member, rule, state,
};

const INVITE_ONLY: Said = rule(r#"{"join_rule": "invite"}"#);
const KNOCKING: Said = rule(r#"{"join_rule": "knock"}"#);
const RESTRICTED: Said = rule(
    r#"{"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": "!space:example.org"}]}"#,
);
const KNOCK_RESTRICTED: Said = rule(
    r#"{"join_rule": "knock_restricted", "allow": [{"type": "m.room_membership", "room_id": "!space:example.org"}]}"#,
);
const RENAME: Said = member("@bob", "@bob", r#"{"membership": "join", "displayname": "Bob"}"#);
const JOINS: Said = member("@charlie", "@charlie", JOIN);
const KNOCKS: Said = member("@charlie", "@charlie", KNOCK);
const INVITED: Said = member("@alice", "@charlie", INVITE);
const BANNED: Said = member("@alice", "@charlie", BAN);
const VIA_BOB: Said = member(
    "@charlie",
    "@charlie",
    r#"{"membership": "join", "join_authorised_via_users_server": "@bob"}"#,
);
const VIA_ZARA: Said = member(
    "@charlie",
    "@charlie",
    r#"{"membership": "join", "join_authorised_via_users_server": "@zara"}"#,
);
const TO_INVITE_TAKES_50: Said = levels("@alice", r#"{"users": {"@alice": 100}, "invite": 50}"#);

#[test]
fn joins() {
    check(&[
        case("a public room", &[], JOINS, Always),
        case(
            "nobody joins for another",
            &[],
            member("@alice", "@charlie", JOIN),
            Never,
        ),
        case("the banned", &[BANNED], JOINS, Never),
        case(
            "the unbanned",
            &[BANNED, member("@alice", "@charlie", LEAVE)],
            JOINS,
            Always,
        ),
        case("invite only: a stranger", &[INVITE_ONLY], JOINS, Never),
        case("invite only: a member", &[INVITE_ONLY], RENAME, Always),
        case("invite only: the invited", &[INVITE_ONLY, INVITED], JOINS, Always),
        case(
            "invite only: the banned",
            &[INVITE_ONLY, INVITED, BANNED],
            JOINS,
            Never,
        ),
        case(
            "private, which nobody joins",
            &[rule(r#"{"join_rule": "private"}"#), INVITED],
            JOINS,
            Never,
        ),
        case(
            "an unknown rule",
            &[rule(r#"{"join_rule": "org.example.open"}"#), INVITED],
            JOINS,
            Never,
        ),
        case("no rule in the content", &[rule("{}")], JOINS, Never),
        case(
            "a name that is no text",
            &[],
            member(
                "@charlie",
                "@charlie",
                r#"{"membership": "join", "displayname": 203}"#,
            ),
            Always,
        ),
        case(
            "is_direct that is no boolean",
            &[],
            member(
                "@charlie",
                "@charlie",
                r#"{"membership": "join", "is_direct": "yes"}"#,
            ),
            Always,
        ),
    ]);
}

#[test]
fn joins_where_one_may_knock() {
    let from_7 = From(RoomVersion::V7);
    check(&[
        case("a stranger", &[KNOCKING], JOINS, Never),
        case("who knocked", &[KNOCKING, KNOCKS], JOINS, Never),
        case("the invited", &[KNOCKING, INVITED], JOINS, from_7),
        case("a member", &[KNOCKING], RENAME, from_7),
    ]);
}

#[test]
fn joins_where_it_is_restricted() {
    let (from_8, from_10) = (From(RoomVersion::V8), From(RoomVersion::V10));
    check(&[
        case("a stranger", &[RESTRICTED], JOINS, Never),
        case("a member", &[RESTRICTED], RENAME, from_8),
        case("the invited", &[RESTRICTED, INVITED], JOINS, from_8),
        case("the banned", &[RESTRICTED, BANNED], VIA_BOB, Never),
        case("let in by a member", &[RESTRICTED], VIA_BOB, from_8),
        case("let in by who is not in the room", &[RESTRICTED], VIA_ZARA, Never),
        case(
            "let in by who may not invite",
            &[RESTRICTED, TO_INVITE_TAKES_50],
            VIA_BOB,
            Never,
        ),
        case("a stranger, or knocking", &[KNOCK_RESTRICTED], JOINS, Never),
        case("a member, or knocking", &[KNOCK_RESTRICTED], RENAME, from_10),
        case(
            "the invited, or knocking",
            &[KNOCK_RESTRICTED, INVITED],
            JOINS,
            from_10,
        ),
        case(
            "let in by a member, or knocking",
            &[KNOCK_RESTRICTED],
            VIA_BOB,
            from_10,
        ),
        case(
            "let in by who is not in the room, or knocking",
            &[KNOCK_RESTRICTED],
            VIA_ZARA,
            Never,
        ),
        case(
            "let in by who may not invite, or knocking",
            &[KNOCK_RESTRICTED, TO_INVITE_TAKES_50],
            VIA_BOB,
            Never,
        ),
    ]);
}

/// Of the join rules only `join_rule` counts.
#[test]
fn joins_by_restrictions_that_nobody_can_read() {
    let from_8 = From(RoomVersion::V8);
    check(&[
        case(
            "nothing is allowed",
            &[rule(r#"{"join_rule": "restricted", "allow": []}"#)],
            VIA_BOB,
            from_8,
        ),
        case(
            "an empty room id",
            &[rule(
                r#"{"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": ""}]}"#,
            )],
            VIA_BOB,
            from_8,
        ),
        case(
            "no room id",
            &[rule(
                r#"{"join_rule": "restricted", "allow": [{"type": "m.room_membership"}]}"#,
            )],
            VIA_BOB,
            from_8,
        ),
        case(
            "no list",
            &[rule(r#"{"join_rule": "restricted", "allow": 1}"#)],
            VIA_BOB,
            from_8,
        ),
    ]);
}

#[test]
fn knocks() {
    let (from_7, from_10) = (From(RoomVersion::V7), From(RoomVersion::V10));
    check(&[
        case("a public room", &[], KNOCKS, Never),
        case("invite only", &[INVITE_ONLY], KNOCKS, Never),
        case("restricted", &[RESTRICTED], KNOCKS, Never),
        case("where one may knock", &[KNOCKING], KNOCKS, from_7),
        case(
            "restricted, where one may knock",
            &[KNOCK_RESTRICTED],
            KNOCKS,
            from_10,
        ),
        case("again", &[KNOCKING, KNOCKS], KNOCKS, from_7),
        case(
            "nobody knocks for another",
            &[KNOCKING],
            member("@bob", "@charlie", KNOCK),
            Never,
        ),
        case("the banned", &[KNOCKING, BANNED], KNOCKS, Never),
        case("the invited", &[KNOCKING, INVITED], KNOCKS, Never),
        case("a member", &[KNOCKING], member("@bob", "@bob", KNOCK), Never),
        case(
            "who left",
            &[KNOCKING, member("@bob", "@bob", LEAVE)],
            member("@bob", "@bob", KNOCK),
            from_7,
        ),
    ]);
}

/// Right after the creation, when there are no rules yet, the creator joins and nobody else: the sender of the
/// create event, up to version 10 whom its content names.
#[test]
fn the_first_join() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let old = version < RoomVersion::V11;
        let create = scene.room.in_state(&scene.state, "m.room.create", "").unwrap();
        let key = create.state_entry().unwrap();
        scene.state.retain(|entry, _| *entry == key);
        let after_create = |scene: &mut Scene, user: &'static str| {
            let mut builder = scene.builder(&member(user, user, JOIN));
            let id = scene.state[&key].clone();
            let hash = scene.room.events[&id].reference_hash().unwrap();
            builder.reference_hashes.insert(id.clone(), hash);
            builder.prev_events = vec![id];
            scene.allows_built(user, builder)
        };
        assert!(after_create(&mut scene, "@alice"), "version {version}");
        assert!(!after_create(&mut scene, "@bob"), "version {version}");
        assert!(!scene.allows(&member("@alice", "@alice", JOIN)), "not the first");
        if version.room_id_is_create_hash() {
            continue;
        }
        let content: &str = match version {
            RoomVersion::V11 => r#"{"room_version": "11", "creator": "@bob"}"#,
            _ => r#"{"creator": "@bob"}"#,
        };
        scene.add(&state("@alice", "m.room.create", "", content));
        assert_eq!(after_create(&mut scene, "@alice"), !old, "version {version}");
        assert_eq!(after_create(&mut scene, "@bob"), old, "version {version}");
    }
}
