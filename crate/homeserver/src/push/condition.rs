//! Conditions of push rules.
//!
//! Spec: Client-Server API, section 'Conditions for push rules'. Unknown conditions never hold.

use ruma_common::push::{ComparisonOperator, PushCondition, RoomMemberCountIs, ScalarJsonValue};
use serde_json::Value;

use super::{RoomContext, pattern};
use crate::{JsonObject, sync::filter::split_path};

const DEFAULT_NOTIFICATION_LEVEL: i64 = 50;

/// Whether `condition` holds for `event`.
pub(super) fn holds(condition: &PushCondition, event: &JsonObject, context: &RoomContext<'_>) -> bool {
    match condition {
        PushCondition::EventMatch(data) => event_matches(event, &data.key, &data.pattern, context),
        #[allow(deprecated, reason = "old clients still make such rules")]
        PushCondition::ContainsDisplayName => names_user(event, context.display_name),
        PushCondition::RoomMemberCount(data) => count_is(data.is, context.joined_members),
        PushCondition::SenderNotificationPermission(data) => may_notify(event, data.key.as_ref(), context),
        PushCondition::EventPropertyIs(data) => {
            property(event, &data.key).is_some_and(|value| is_scalar(value, &data.value))
        }
        PushCondition::EventPropertyContains(data) => property(event, &data.key)
            .and_then(Value::as_array)
            .is_some_and(|values| values.iter().any(|value| is_scalar(value, &data.value))),
        _ => false,
    }
}

/// Whether the string at `key` of `event` matches `pattern`; in `content.body`, any words of it.
pub(super) fn event_matches(event: &JsonObject, key: &str, pattern: &str, context: &RoomContext<'_>) -> bool {
    let text = match key {
        "room_id" => Some(context.room_id.as_str()),
        key => property(event, key).and_then(Value::as_str),
    };
    text.is_some_and(|text| match key {
        "content.body" => pattern::matches_words(pattern, text),
        _ => pattern::matches_whole(pattern, text),
    })
}

fn names_user(event: &JsonObject, name: Option<&str>) -> bool {
    let body = property(event, "content.body").and_then(Value::as_str);
    match (body, name) {
        (Some(body), Some(name)) if !name.is_empty() => pattern::contains_words(name, body),
        _ => false,
    }
}

fn count_is(condition: RoomMemberCountIs, members: u64) -> bool {
    let count = u64::from(condition.count);
    match condition.prefix {
        ComparisonOperator::Eq => members == count,
        ComparisonOperator::Lt => members < count,
        ComparisonOperator::Gt => members > count,
        ComparisonOperator::Ge => members >= count,
        ComparisonOperator::Le => members <= count,
    }
}

fn may_notify(event: &JsonObject, key: &str, context: &RoomContext<'_>) -> bool {
    let Some(sender) = event.get("sender").and_then(Value::as_str) else {
        return false;
    };
    if context.creators.iter().any(|creator| creator == sender) {
        return true;
    }
    let levels = context.power_levels;
    let field = |name: &str| levels.and_then(|levels| levels.get(name));
    let needed = field("notifications").and_then(|levels| level(levels.get(key)?));
    let own = field("users").and_then(|levels| level(levels.get(sender)?));
    let default = field("users_default").and_then(level).unwrap_or_default();
    own.unwrap_or(default) >= needed.unwrap_or(DEFAULT_NOTIFICATION_LEVEL)
}

/// A power level; old rooms may hold it as a string.
fn level(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn property<'a>(event: &'a JsonObject, path: &str) -> Option<&'a Value> {
    let keys = split_path(path);
    let (first, rest) = keys.split_first()?;
    rest.iter()
        .try_fold(event.get(first)?, |value, key| value.get(key))
}

fn is_scalar(value: &Value, wanted: &ScalarJsonValue) -> bool {
    match wanted {
        ScalarJsonValue::Null => value.is_null(),
        ScalarJsonValue::Bool(wanted) => value.as_bool() == Some(*wanted),
        ScalarJsonValue::Integer(wanted) => value.as_i64() == Some(i64::from(*wanted)),
        ScalarJsonValue::String(wanted) => value.as_str() == Some(wanted),
    }
}
