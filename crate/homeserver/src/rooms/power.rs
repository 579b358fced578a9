//! Power levels. Spec: Client-Server API, section 'Permissions', and Room Version 12 for creators.

use ruma_common::UserId;
use serde_json::Value;

use crate::rooms::{create::ranks_creators, view::View};

/// These need the create event and the power levels among what was asked for.
impl View {
    /// The power level of a user. A creator of a room of version 12 or later outranks every number.
    pub fn power_level(&self, user_id: &UserId) -> i64 {
        if self.ranking_creators().contains(&user_id.as_str()) {
            return i64::MAX;
        }
        if self.get("m.room.power_levels", "").is_none() {
            return if self.is_creator(user_id) { 100 } else { 0 };
        }
        let users = self.power_value("users");
        let own = users.and_then(|users| integer(users.get(user_id.as_str())?));
        own.unwrap_or_else(|| self.power_field("users_default", 0))
    }

    /// A number of `m.room.power_levels`, such as `ban`, or `default` if it has none.
    pub fn power_field(&self, field: &str, default: i64) -> i64 {
        self.power_value(field).and_then(integer).unwrap_or(default)
    }

    /// The power level that sending an event of `kind` takes.
    pub fn required_power(&self, kind: &str, is_state: bool) -> i64 {
        let own = self
            .power_value("events")
            .and_then(|events| integer(events.get(kind)?));
        let has_levels = self.get("m.room.power_levels", "").is_some();
        own.unwrap_or_else(|| match is_state {
            true => self.power_field("state_default", if has_levels { 50 } else { 0 }),
            false => self.power_field("events_default", 0),
        })
    }

    /// Whether a user may send an event of `kind`. Needs their membership, too.
    pub fn may_send(&self, user_id: &UserId, kind: &str, is_state: bool) -> bool {
        self.membership(user_id) == "join" && self.power_level(user_id) >= self.required_power(kind, is_state)
    }

    fn power_value(&self, field: &str) -> Option<&Value> {
        self.get("m.room.power_levels", "")?.content().get(field)
    }

    /// Those whose power is above all levels: the creators of a room of version 12 or later.
    pub(crate) fn ranking_creators(&self) -> Vec<&str> {
        let create = self.get("m.room.create", "");
        let Some(create) = create.filter(|create| ranks_creators(create.pdu.version())) else {
            return Vec::new();
        };
        let additional = create.content().get("additional_creators");
        let additional = additional.and_then(Value::as_array).into_iter().flatten();
        let additional = additional.filter_map(Value::as_str);
        additional.chain([create.sender().as_str()]).collect()
    }

    fn is_creator(&self, user_id: &UserId) -> bool {
        self.get("m.room.create", "").is_some_and(|create| {
            create.sender() == user_id || create.content_text("creator") == Some(user_id.as_str())
        })
    }
}

/// A power level, which before room version 10 may be a string, and before version 6 a float.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    let of_text = || value.as_str()?.trim().parse().ok();
    // Its whole part, as the authorisation rules take it.
    let of_float = || value.as_f64().map(|float| float as i64);
    value.as_i64().or_else(of_text).or_else(of_float)
}
