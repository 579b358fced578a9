//! Changing power levels.

use hearth_rooms::RoomVersion;
use serde_json::{Value, json};

use super::{
    Allowed::{self, Always, From, Never, Until},
    Said, Scene, case, check, levels,
};

const LEVELS: [&str; 7] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
];

/// Power levels in which bob has 40 and may change them, with `changes`.
fn with(changes: &Value) -> Value {
    let mut content = json!({
        "users": {"@alice": 100, "@bob": 40, "@charlie": 40, "@zara": 70},
        "events": {"m.room.power_levels": 40},
    });
    for (field, value) in changes.as_object().unwrap() {
        match value.as_object() {
            Some(entries) => {
                for (key, value) in entries {
                    content[field][key] = value.clone();
                }
            }
            None => content[field] = value.clone(),
        }
    }
    without_nulls(content)
}

/// `null` stands for what is removed.
fn without_nulls(mut content: Value) -> Value {
    for field in content.as_object_mut().unwrap().values_mut() {
        if let Some(entries) = field.as_object_mut() {
            entries.retain(|_, value| !value.is_null());
        }
    }
    content
}

/// Changes of power levels that bob tries.
#[derive(Default)]
struct Changes(Vec<(Value, Value, Allowed)>);

impl Changes {
    fn push(&mut self, before: Value, after: Value, allowed: Allowed) {
        self.0.push((before, after, allowed));
    }

    fn check(&self) {
        // The texts are a few kilobytes, and tests end.
        let text = |content: &Value| -> &'static str { String::leak(with(content).to_string()) };
        let said = |(before, after, allowed): &(Value, Value, Allowed)| {
            let name = format!("{before} to {after}");
            let said = [levels("@alice", text(before)), levels("@bob", text(after))];
            (name, said, *allowed)
        };
        let said: Vec<_> = self.0.iter().map(said).collect();
        let cases = said.iter().map(|(name, [before, after], allowed)| {
            case(name, std::slice::from_ref(before), *after, *allowed)
        });
        check(&cases.collect::<Vec<_>>());
    }
}

#[test]
fn levels_in_the_content() {
    let mut changes = Changes::default();
    for field in LEVELS {
        let mut change = |from: i64, to: i64, allowed| {
            changes.push(json!({ field: from }), json!({ field: to }), allowed);
        };
        change(60, 40, Never);
        change(40, 60, Never);
        change(40, 40, Always);
        change(40, 20, Always);
        change(20, 40, Always);
    }
    // What is not there counts as its default.
    for (field, allowed) in [
        ("users_default", Always),
        ("events_default", Always),
        ("state_default", Never),
        ("ban", Never),
        ("redact", Never),
        ("kick", Never),
        ("invite", Always),
    ] {
        changes.push(json!({}), json!({ field: 40 }), allowed);
    }
    changes.check();
}

#[test]
fn levels_of_event_types() {
    let mut changes = Changes::default();
    let kind = "m.room.topic";
    let mut change = |from: Value, to: Value, allowed| {
        let (from, to) = (json!({"events": {kind: from}}), json!({"events": {kind: to}}));
        changes.push(from, to, allowed);
    };
    change(json!(60), json!(40), Never);
    change(json!(40), json!(60), Never);
    change(json!(40), json!(10), Always);
    change(json!(10), json!(40), Always);
    change(json!(60), json!(null), Never);
    change(json!(null), json!(60), Never);
    change(json!(null), json!(40), Always);
    change(json!(40), json!(null), Always);
    changes.check();
}

#[test]
fn levels_of_notifications() {
    let mut changes = Changes::default();
    let until_5 = Until(RoomVersion::V5);
    let mut change = |from: Value, to: Value, allowed| {
        let (from, to) = (
            json!({"notifications": {"room": from}}),
            json!({"notifications": {"room": to}}),
        );
        changes.push(from, to, allowed);
    };
    change(json!(60), json!(40), until_5);
    change(json!(40), json!(60), until_5);
    change(json!(60), json!(null), until_5);
    change(json!(null), json!(60), until_5);
    change(json!(40), json!(10), Always);
    change(json!(null), json!(40), Always);
    change(json!(40), json!(null), Always);
    changes.check();
}

#[test]
fn levels_of_others() {
    let mut changes = Changes::default();
    let mut change = |user: &str, to: Value, allowed| {
        changes.push(json!({}), json!({"users": {user: to}}), allowed);
    };
    change("@zara", json!(null), Never);
    change("@zara", json!(40), Never);
    change("@zara", json!(80), Never);
    change("@charlie", json!(20), Never);
    change("@charlie", json!(null), Never);
    change("@dora:example.org", json!(41), Never);
    change("@dora:example.org", json!(40), Always);
    let dora = |level: i64| json!({"users": {"@dora:example.org": level}});
    changes.push(dora(20), dora(40), Always);
    changes.push(dora(20), dora(41), Never);
    changes.push(dora(39), dora(0), Always);
    changes.check();
}

#[test]
fn ones_own_level() {
    let own = |level: Value| json!({"users": {"@bob": level}});
    let mut changes = Changes::default();
    changes.push(json!({}), own(json!(41)), Never);
    changes.push(json!({}), own(json!(20)), Always);
    changes.push(json!({}), own(json!(null)), Always);
    changes.check();
}

#[test]
fn the_first_levels() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        scene.state.remove(&("m.room.power_levels".into(), String::new()));
        // Nobody but the creator may send state before there are levels; there is no limit to the first ones.
        let first = r#"{"users": {"@alice": 1000, "@bob": 2000}, "ban": 3000}"#;
        assert!(scene.allows(&levels("@alice", first)), "version {version}");
        assert!(!scene.allows(&levels("@bob", first)), "version {version}");
    }
}

#[test]
fn levels_of_nobody() {
    let of_nobody = levels("@alice", r#"{"users": {"@alice": 100, "spambot": -1}}"#);
    let of_no_server = levels("@alice", r#"{"users": {"@alice": 100, "@bob": 1, "@:": 2}}"#);
    let no_object = levels("@alice", r#"{"users": [["@alice", 100]]}"#);
    check(&[
        case("a name", &[], of_nobody, Never),
        case("an id of nobody", &[], of_no_server, Never),
        case("a list", &[], no_object, Never),
    ]);
}

/// From version 12 on a creator's power has no end, and cannot be given or taken away.
#[test]
fn levels_of_creators() {
    let v12 = From(RoomVersion::V12);
    let greatest = levels(
        "@alice",
        r#"{"users": {"@alice": 100, "@bob": 9007199254740991}, "ban": 9007199254740991}"#,
    );
    let none: Said = levels("@alice", r#"{"users": {"@alice": 100, "@bob": 0}, "ban": 0}"#);
    check(&[case("the greatest level", &[greatest], none, v12)]);
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let mut builder = scene.builder(&levels("@alice", r#"{"users": {"@bob": 40}}"#));
        let alice = scene.people["@alice"].user.to_string();
        builder.content["users"][&alice] = json!(10);
        let is_old = version < RoomVersion::V12;
        assert_eq!(scene.allows_built("@alice", builder), is_old, "version {version}");
    }
}
