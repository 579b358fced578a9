//! Redaction: what is left of an event once its content is taken away. Spec: each room version, "Redactions".
//!
//! It does *not* decide whether a redaction may be applied; [`may_apply`] is given what that depends on.

use ruma_common::room_version_rules::RedactionRules;
use serde_json::Value;

use crate::{
    Pdu, PduError,
    canonical_json::{JsonObject, Part},
};

impl Pdu {
    /// The event with only what its room version lets redaction keep. The id and signatures stay valid.
    ///
    /// # Errors
    /// None in practice, as the event has the right format.
    pub fn redacted(&self) -> Result<Self, PduError> {
        let object = self.to_object()?;
        let kept = kept(&object, &self.version().rules().redaction, &[]).to_value();
        Ok(Self::from_value(self.version(), kept)?.with_rejected(self.rejected()))
    }
}

/// Whether `redaction`, which the rules allow, is to be applied to `target`, if its sender's power level is at
/// least the room's `redact` level or not (`has_redact_power`).
///
/// Spec: Room Version 3, "Handling redactions". In versions 1 and 2 it is the domains of the two event ids that
/// are compared, as in their authorisation rule 11.
pub fn may_apply(redaction: &Pdu, target: &Pdu, has_redact_power: bool) -> bool {
    let same_origin = match redaction
        .version()
        .rules()
        .authorization
        .special_case_room_redaction
    {
        true => redaction.event_id().server_name() == target.event_id().server_name(),
        false => redaction.sender().server_name() == target.sender().server_name(),
    };
    redaction.redacts() == Some(target.event_id())
        && redaction.room_id() == target.room_id()
        && (has_redact_power || same_origin)
}

/// The fields of a content that are kept.
enum Kept {
    Everything,
    Only(&'static [&'static str]),
}

/// What redaction keeps of the event `object`, without the fields `without`.
pub(crate) fn kept<'a>(object: &'a JsonObject, rules: &RedactionRules, without: &[&str]) -> Part<'a> {
    let event_type = object.get("type").and_then(Value::as_str).unwrap_or_default();
    let kept = object
        .iter()
        .filter(|(name, _)| keeps_field(name, rules) && !without.contains(&name.as_str()));
    let parts = kept.map(|(name, value)| match value {
        Value::Object(content) if name == "content" => {
            (name, kept_of_content(content, value, event_type, rules))
        }
        other => (name, Part::Whole(other)),
    });
    Part::Fields(parts.collect())
}

fn keeps_field(name: &str, rules: &RedactionRules) -> bool {
    match name {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures"
        | "depth" | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "origin" | "membership" | "prev_state" => rules.keep_origin_membership_prev_state,
        _ => false,
    }
}

fn kept_of_content<'a>(
    content: &'a JsonObject,
    whole: &'a Value,
    event_type: &str,
    rules: &RedactionRules,
) -> Part<'a> {
    let names = match kept_names(event_type, rules) {
        Kept::Everything => return Part::Whole(whole),
        Kept::Only(names) => names,
    };
    let kept = content.iter().filter(|(name, _)| names.contains(&name.as_str()));
    Part::Fields(
        kept.map(|(name, value)| (name, kept_of_field(name, value)))
            .collect(),
    )
}

/// Of `third_party_invite` only `signed` is kept, where it is kept at all.
fn kept_of_field<'a>(name: &str, value: &'a Value) -> Part<'a> {
    match value {
        Value::Object(invite) if name == "third_party_invite" => {
            let signed = invite.iter().filter(|(name, _)| *name == "signed");
            Part::Fields(signed.map(|(name, value)| (name, Part::Whole(value))).collect())
        }
        other => Part::Whole(other),
    }
}

fn kept_names(event_type: &str, rules: &RedactionRules) -> Kept {
    Kept::Only(match event_type {
        "m.room.create" if rules.keep_room_create_content => return Kept::Everything,
        "m.room.create" => &["creator"],
        "m.room.member" => kept_of_member(rules),
        "m.room.join_rules" if rules.keep_room_join_rules_allow => &["join_rule", "allow"],
        "m.room.join_rules" => &["join_rule"],
        "m.room.power_levels" if rules.keep_room_power_levels_invite => &LEVELS_AND_INVITE,
        "m.room.power_levels" => &LEVELS,
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.aliases" if rules.keep_room_aliases_aliases => &["aliases"],
        "m.room.redaction" if rules.keep_room_redaction_redacts => &["redacts"],
        _ => &[],
    })
}

fn kept_of_member(rules: &RedactionRules) -> &'static [&'static str] {
    if rules.keep_room_member_third_party_invite_signed {
        &[
            "membership",
            "join_authorised_via_users_server",
            "third_party_invite",
        ]
    } else if rules.keep_room_member_join_authorised_via_users_server {
        &["membership", "join_authorised_via_users_server"]
    } else {
        &["membership"]
    }
}

const LEVELS: [&str; 8] = [
    "ban",
    "events",
    "events_default",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
];
const LEVELS_AND_INVITE: [&str; 9] = [
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
];
