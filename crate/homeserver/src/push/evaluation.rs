//! Evaluates a user's push rules for an event.
//!
//! The rule types are ruma's; the evaluation is ours, because ruma's compiles regular expressions, and their
//! engine would be a large part of the WebAssembly that a browser loads.

use ruma_common::{
    RoomId, UserId,
    push::{Action, AnyPushRuleRef, Ruleset},
};
use serde_json::Value;

use super::condition::{event_matches, holds};
use crate::JsonObject;

/// What the conditions of push rules may ask of a room.
#[derive(Clone, Copy, Debug)]
pub struct RoomContext<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// How many users are joined.
    pub joined_members: u64,
    /// The user's display name in the room.
    pub display_name: Option<&'a str>,
    /// The content of the room's `m.room.power_levels`.
    pub power_levels: Option<&'a JsonObject>,
    /// Users whose power is above all levels (room version 12 on), else none.
    pub creators: &'a [String],
}

/// How an event bears on the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attention {
    /// The event counts as a notification.
    pub notify: bool,
    /// The event counts as a highlight.
    pub highlight: bool,
}

/// What the first rule of `rules` that matches `event` says. A user's own events ask nothing of them.
pub fn attention(rules: &Ruleset, user: &UserId, event: &JsonObject, context: &RoomContext<'_>) -> Attention {
    let rule = matching_rule(rules, user, event, context);
    rule.map_or_else(Attention::default, |rule| Attention {
        notify: rule.triggers_notification(),
        highlight: rule.triggers_notification() && rule.triggers_highlight(),
    })
}

/// What is to be done about `event`, if that is anything.
pub(super) fn actions(
    rules: &Ruleset,
    user: &UserId,
    event: &JsonObject,
    context: &RoomContext<'_>,
) -> Option<Vec<Action>> {
    let rule = matching_rule(rules, user, event, context)?;
    rule.triggers_notification().then(|| rule.actions().to_vec())
}

/// The first rule that matches an event of somebody else.
fn matching_rule<'a>(
    rules: &'a Ruleset,
    user: &UserId,
    event: &JsonObject,
    context: &RoomContext<'_>,
) -> Option<AnyPushRuleRef<'a>> {
    let is_own = event.get("sender").and_then(Value::as_str) == Some(user.as_str());
    let mut rules = rules.iter().filter(|_| !is_own);
    rules.find(|rule| rule.enabled() && matches(*rule, event, context))
}

fn matches(rule: AnyPushRuleRef<'_>, event: &JsonObject, context: &RoomContext<'_>) -> bool {
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => rule
            .conditions
            .iter()
            .all(|condition| holds(condition, event, context)),
        AnyPushRuleRef::Content(rule) => event_matches(event, "content.body", &rule.pattern, context),
        AnyPushRuleRef::Room(rule) => rule.rule_id == context.room_id,
        AnyPushRuleRef::Sender(rule) => {
            event.get("sender").and_then(Value::as_str) == Some(rule.rule_id.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use ruma_common::{room_id, user_id};
    use serde_json::json;

    use super::*;

    const QUIET: Attention = Attention {
        notify: false,
        highlight: false,
    };
    const NOTIFY: Attention = Attention {
        notify: true,
        highlight: false,
    };
    const HIGHLIGHT: Attention = Attention {
        notify: true,
        highlight: true,
    };

    fn evaluate(rules: &Ruleset, event: Value, members: u64) -> Attention {
        let levels = json!({"users": {"@mod:x": 50}, "notifications": {"room": 50}});
        let context = RoomContext {
            room_id: room_id!("!r:x"),
            joined_members: members,
            display_name: Some("Alice L*"),
            power_levels: levels.as_object(),
            creators: &["@creator:x".to_owned()],
        };
        attention(rules, user_id!("@alice:x"), event.as_object().unwrap(), &context)
    }

    fn message(sender: &str, content: Value) -> Value {
        json!({"type": "m.room.message", "sender": sender, "content": content})
    }

    fn default_rules() -> Ruleset {
        Ruleset::server_default(user_id!("@alice:x"))
    }

    #[test]
    fn default_rules_on_messages() {
        let rules = default_rules();
        for (event, expected) in [
            (
                message("@b:x", json!({"body": "hi", "msgtype": "m.text"})),
                NOTIFY,
            ),
            (
                message("@alice:x", json!({"body": "hi", "msgtype": "m.text"})),
                QUIET,
            ),
            (
                message("@b:x", json!({"body": "hi", "msgtype": "m.notice"})),
                QUIET,
            ),
            (
                message(
                    "@b:x",
                    json!({"body": "", "m.mentions": {"user_ids": ["@alice:x"]}}),
                ),
                HIGHLIGHT,
            ),
            (
                message("@b:x", json!({"body": "", "m.mentions": {"user_ids": ["@c:x"]}})),
                NOTIFY,
            ),
            (
                message("@b:x", json!({"body": "", "m.mentions": {"room": true}})),
                NOTIFY,
            ),
            (
                message("@mod:x", json!({"body": "", "m.mentions": {"room": true}})),
                HIGHLIGHT,
            ),
            (
                message("@creator:x", json!({"body": "", "m.mentions": {"room": true}})),
                HIGHLIGHT,
            ),
            (
                message(
                    "@b:x",
                    json!({"body": "", "m.relates_to": {"rel_type": "m.replace"}}),
                ),
                QUIET,
            ),
        ] {
            assert_eq!(evaluate(&rules, event.clone(), 3), expected, "{event}");
        }
    }

    #[test]
    fn default_rules_on_state() {
        let rules = default_rules();
        let member = |user: &str, membership: &str| {
            json!({
                "type": "m.room.member", "sender": "@b:x", "state_key": user, "content": {"membership": membership},
            })
        };
        assert_eq!(evaluate(&rules, member("@alice:x", "invite"), 2), NOTIFY);
        assert_eq!(evaluate(&rules, member("@c:x", "join"), 2), QUIET);
        let tombstone = json!({"type": "m.room.tombstone", "sender": "@b:x", "state_key": "", "content": {}});
        assert_eq!(evaluate(&rules, tombstone, 3), HIGHLIGHT);
        let topic = json!({"type": "m.room.topic", "sender": "@b:x", "state_key": "", "content": {}});
        assert_eq!(evaluate(&rules, topic, 3), QUIET);
    }

    #[test]
    fn own_rules_come_in_their_order() {
        let rules: Ruleset = serde_json::from_value(json!({
            "override": [
                {"rule_id": "quiet", "default": false, "enabled": true, "actions": [], "conditions":
                    [{"kind": "event_match", "key": "content.tag", "pattern": "qu*"}]},
                {"rule_id": "off", "default": false, "enabled": false, "actions": [], "conditions": []},
                {"rule_id": "unknown", "default": false, "enabled": true, "actions": [], "conditions":
                    [{"kind": "org.example.unknown"}]},
                {"rule_id": "name", "default": false, "enabled": true,
                    "actions": ["notify", {"set_tweak": "highlight"}],
                    "conditions": [{"kind": "contains_display_name"}]},
                {"rule_id": "small", "default": false, "enabled": true, "actions": ["notify"], "conditions": [
                    {"kind": "room_member_count", "is": "<3"},
                    {"kind": "event_match", "key": "type", "pattern": "m.small"},
                ]},
            ],
            "content": [{"rule_id": "word", "default": false, "enabled": true, "pattern": "wo?d",
                "actions": ["notify", {"set_tweak": "highlight"}]}],
            "room": [], "sender": [{"rule_id": "@loud:x", "default": false, "enabled": true, "actions": ["notify"]}],
            "underride": [],
        }))
        .unwrap();
        for (event, members, expected) in [
            (
                message("@loud:x", json!({"body": "word", "tag": "quiet"})),
                3,
                QUIET,
            ),
            (message("@b:x", json!({"body": "a word."})), 3, HIGHLIGHT),
            (message("@b:x", json!({"body": "password"})), 3, QUIET),
            (message("@b:x", json!({"body": "hi alice l*"})), 3, HIGHLIGHT),
            (message("@b:x", json!({"body": "hi alice liddell"})), 3, QUIET),
            (message("@loud:x", json!({"body": "x"})), 3, NOTIFY),
            (
                json!({"type": "m.small", "sender": "@b:x", "content": {}}),
                2,
                NOTIFY,
            ),
            (
                json!({"type": "m.small", "sender": "@b:x", "content": {}}),
                3,
                QUIET,
            ),
        ] {
            assert_eq!(evaluate(&rules, event.clone(), members), expected, "{event}");
        }
    }
}
