//! The rules of a policy list: a room whose state says whom to keep away from. Spec: Client-Server API, section
//! 'Moderation policy lists'.

use std::collections::BTreeSet;

use ruma_common::{RoomId, UserId};

use super::glob::glob_matches;
use crate::rooms::event::StoredEvent;

/// The most rules of one list that are looked at.
const MAX_RULES: usize = 20_000;

/// The types of rules: those of the spec, and those that older lists were written with.
pub(super) const USER_RULES: [&str; 3] = [
    "m.policy.rule.user",
    "m.room.rule.user",
    "org.matrix.mjolnir.rule.user",
];
pub(super) const ROOM_RULES: [&str; 3] = [
    "m.policy.rule.room",
    "m.room.rule.room",
    "org.matrix.mjolnir.rule.room",
];
pub(super) const SERVER_RULES: [&str; 3] = [
    "m.policy.rule.server",
    "m.room.rule.server",
    "org.matrix.mjolnir.rule.server",
];

/// What a list bans.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyList {
    users: Entities,
    rooms: Entities,
    servers: Entities,
}

/// What the rules of one kind are about.
#[derive(Clone, Debug, Default)]
struct Entities {
    /// Those without a wildcard.
    exact: BTreeSet<String>,
    globs: Vec<String>,
}

impl PolicyList {
    /// The list that the state events `rules` make. What is no rule that bans is passed over.
    pub(super) fn new<'a>(rules: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut list = Self::default();
        for rule in rules.into_iter().take(MAX_RULES) {
            let Some(entity) = banned_entity(rule) else {
                continue;
            };
            match rule.kind() {
                kind if USER_RULES.contains(&kind) => list.users.add(entity),
                kind if ROOM_RULES.contains(&kind) => list.rooms.add(entity),
                kind if SERVER_RULES.contains(&kind) => list.servers.add(entity),
                _ => (),
            }
        }
        list
    }

    /// Whether it bans the user or their server.
    pub(super) fn bans_user(&self, user_id: &UserId) -> bool {
        self.users.has(user_id.as_str()) || self.servers.has(user_id.server_name().host())
    }

    /// Whether it bans the room.
    pub(super) fn bans_room(&self, room_id: &RoomId) -> bool {
        self.rooms.has(room_id.as_str())
    }
}

impl Entities {
    fn add(&mut self, entity: &str) {
        if entity.contains(['*', '?']) {
            self.globs.push(entity.to_owned());
        } else {
            self.exact.insert(entity.to_ascii_lowercase());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.exact.contains(&name.to_ascii_lowercase())
            || self.globs.iter().any(|glob| glob_matches(glob, name))
    }
}

/// Whom or what a rule bans, if that is what it recommends.
fn banned_entity(rule: &StoredEvent) -> Option<&str> {
    let bans = matches!(
        rule.content_text("recommendation")?,
        "m.ban" | "org.matrix.mjolnir.ban"
    );
    rule.content_text("entity")
        .filter(|entity| bans && !entity.is_empty())
}
