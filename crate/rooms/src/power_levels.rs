//! Power levels of old rooms, as the authorisation rules are to read them.
//!
//! Up to room version 9 a level may be a string that is an integer, and up to version 5 a float, which counts as
//! its whole part, or an integer of any size. ruma reads strings, but no floats and nothing beyond 53 bits. So
//! it is given a copy in which floats are cut off and greater levels are the greatest that it knows: they still
//! outrank all others. The event itself stays as it is.

use serde_json::{Value, value::RawValue};

use crate::{
    RoomVersion,
    canonical_json::{JsonObject, MAX_INTEGER},
};

/// The fields that are levels.
const LEVELS: [&str; 7] = [
    "ban",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users_default",
];
/// The fields that are objects of levels.
const MAPS: [&str; 3] = ["events", "notifications", "users"];

/// `content` as ruma can read it; `None` if it can as it is.
pub(crate) fn readable(version: RoomVersion, content: &RawValue) -> Option<Box<RawValue>> {
    let rules = &version.rules().authorization;
    if rules.integer_power_levels {
        return None;
    }
    let mut content: JsonObject = serde_json::from_str(content.get()).ok()?;
    let mut changed = false;
    if !rules.limit_notifications_power_levels {
        // These versions do not look at them, so a malformed one is no reason to refuse the event.
        changed |= content.remove("notifications").is_some();
    }
    for field in LEVELS {
        changed |= content.get_mut(field).is_some_and(make_readable);
    }
    for map in MAPS {
        let levels = content.get_mut(map).and_then(Value::as_object_mut);
        for (_, level) in levels.into_iter().flatten() {
            changed |= make_readable(level);
        }
    }
    changed
        .then(|| serde_json::value::to_raw_value(&content).ok())
        .flatten()
}

/// Makes a level one that ruma can read; returns whether it was not.
fn make_readable(level: &mut Value) -> bool {
    let integer = match &*level {
        Value::Number(number) => number
            .as_i128()
            .or_else(|| number.as_f64().map(|float| float.trunc() as i128)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let Some(integer) = integer else { return false };
    let limit = i128::from(MAX_INTEGER);
    let readable = i64::try_from(integer.clamp(-limit, limit)).map(Value::from);
    let readable = readable.unwrap_or_default();
    let changed = *level != readable;
    *level = readable;
    changed
}
