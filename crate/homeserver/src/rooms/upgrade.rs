//! Replacing a room by one of another version. Spec: Client-Server API, section 'Room upgrades'.
//!
//! Everything is built and authorised before anything is stored. Then the new room is committed, and after it, as
//! one batch, what happens to the old one: tombstone, power levels, aliases, directory. A crash in between
//! leaves the old room as it was. Members are *not* carried over: they join the new room themselves, and then find what
//! they kept for the old one (`predecessor`).

use hearth_rooms::{Pdu, RoomVersion, UnsupportedVersion};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject, ordered,
    rooms::{
        aliases::{alias_key, alias_row, only_aliases},
        append::Audience,
        change::Change,
        create::{first_levels, object, ranks_creators},
        directory::published_key,
        draft::Draft,
        power::integer,
        room::Room,
        view::{CANONICAL_ALIAS, CREATE, MEMBER, POWER_LEVELS, TOMBSTONE, View, member},
    },
};

/// The state that is copied, besides power levels, bans and, in a space, its children. In this order.
const COPIED: [&str; 8] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
];
/// The fields of `m.room.power_levels` that are numbers.
const LEVELS: [&str; 7] = [
    "ban",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users_default",
];
/// The fields of `m.room.power_levels` that are maps of numbers.
const LEVEL_MAPS: [&str; 3] = ["events", "notifications", "users"];
/// The greatest integer of canonical JSON.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// The body of `POST /rooms/{roomId}/upgrade`.
#[derive(Clone, Debug, Deserialize)]
pub struct UpgradeRoom {
    /// The version of the new room.
    pub new_version: String,
    /// Who is a creator besides who upgrades, in versions that know of it.
    #[serde(default)]
    pub additional_creators: Vec<OwnedUserId>,
}

impl Homeserver {
    /// Replaces a room by a new one, and returns that one's id.
    ///
    /// # Errors
    /// [`Error::UnsupportedRoomVersion`], [`Error::NotFound`] if the room is not known here,
    /// [`Error::Forbidden`] if the user may not send the tombstone, [`Error::InvalidRoomState`] if the new
    /// version does not allow the state. Then nothing has changed.
    pub async fn upgrade_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        request: UpgradeRoom,
    ) -> Result<OwnedRoomId, Error> {
        let replacement = self.replace_room(user_id, room_id, request).await?;
        self.carry_over(user_id, &replacement).await;
        Ok(replacement)
    }

    async fn replace_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        request: UpgradeRoom,
    ) -> Result<OwnedRoomId, Error> {
        let version: RoomVersion = request
            .new_version
            .parse()
            .map_err(|UnsupportedVersion(name)| Error::UnsupportedRoomVersion(name))?;
        let room = self.known_room(room_id).await?;
        let keys = [CREATE, POWER_LEVELS, member(user_id)];
        let state = self.view(&room.snapshot(), &keys).await?;
        check_may_upgrade(user_id, &state)?;
        // Before anything is held that others wait for: it may take long.
        self.whole(&room).await?;
        let _directory = self.directory_lock.lock().await;
        let mut old = self.change(&room).await;
        let state = self.state_to_copy(user_id, &old).await?;
        check_may_upgrade(user_id, &state)?;
        let upgrade = Upgrade {
            user_id: user_id.to_owned(),
            room_id: room_id.to_owned(),
            old_version: old.snapshot.version(),
            version,
            additional_creators: request.additional_creators,
            aliases: self.aliases_of(room_id).await?,
        };
        let (create, tombstone) = self.create_and_tombstone(&upgrade, &state, &old).await?;
        let replacement = Room::new(create.room_id().to_owned(), version);
        let mut new = self.change(&replacement).await;
        new.append(create, None, Audience::Nobody).await?;
        self.copy_state(&upgrade, &state, &mut new).await?;
        upgrade.close(&state, &mut old, tombstone).await?;
        self.move_names(&mut old.batch, room_id, &replacement.room_id, &upgrade.aliases)
            .await?;
        new.commit().await?;
        old.commit().await?;
        Ok(replacement.room_id.clone())
    }

    /// What an upgrade looks at of the old room's state: what is copied of it, and what the user may do.
    async fn state_to_copy(&self, user_id: &UserId, old: &Change<'_>) -> Result<View, Error> {
        let mut keys = vec![CREATE, POWER_LEVELS, CANONICAL_ALIAS, member(user_id)];
        keys.extend(COPIED.map(|kind| (kind, "")));
        let mut state = old.view(&keys).await?;
        let root = &old.snapshot.record.state;
        let children = self.tree_of_type(root, "m.space.child").await?;
        let mut ids: Vec<_> = children.into_iter().map(|(_, event_id)| event_id).collect();
        ids.extend(self.members_with(&old.snapshot.room_id, "ban").await?);
        state.extend(self.stored_events(&ids).await?);
        Ok(state)
    }

    /// The new room's create event and the old room's tombstone, which name each other as far as ids allow: the
    /// one that is built first cannot name the other's hash.
    async fn create_and_tombstone(
        &self,
        upgrade: &Upgrade,
        state: &View,
        old: &Change<'_>,
    ) -> Result<(Pdu, Pdu), Error> {
        let create = |room_id, tombstone: Option<&Pdu>| {
            let content = upgrade.create_content(state, tombstone);
            self.create_event(upgrade.version, &upgrade.user_id, room_id, content)
        };
        if let Some(room_id) = self.new_room_id(upgrade.version)? {
            let tombstone = old.propose(upgrade.tombstone(&room_id)).await?;
            return Ok((create(Some(room_id), Some(&tombstone))?, tombstone));
        }
        let create = create(None, None)?;
        let tombstone = old.propose(upgrade.tombstone(create.room_id())).await?;
        Ok((create, tombstone))
    }

    /// Adds to the new room what follows its create event.
    async fn copy_state(&self, upgrade: &Upgrade, old: &View, new: &mut Change<'_>) -> Result<(), Error> {
        let user_id = &upgrade.user_id;
        let levels = upgrade.levels(old);
        let raised = upgrade.raised(old, &levels);
        let state = |kind: &str, content| Draft::state(user_id, kind, "", content);
        let join = self.member_content(user_id, "join", None).await?;
        let mut drafts = vec![Draft::member(user_id, user_id, join)];
        drafts.push(state("m.room.power_levels", raised.clone()));
        let (alias, _) = upgrade.canonical_alias(old);
        drafts.extend(alias.map(|content| state("m.room.canonical_alias", content)));
        drafts.extend(upgrade.copied(old));
        for draft in drafts {
            new.send(draft).await.map_err(refused)?;
        }
        for ban in upgrade.bans(old) {
            // A ban of somebody who now is a creator cannot be copied.
            match new.send(ban).await {
                Ok(_) | Err(Error::Forbidden(_)) => (),
                Err(error) => return Err(error),
            }
        }
        if raised != levels {
            new.send(state("m.room.power_levels", levels))
                .await
                .map_err(refused)?;
        }
        Ok(())
    }

    /// Moves this server's `aliases` of `old`, and its place in the directory, to `new`, with `batch`.
    pub(super) async fn move_names(
        &self,
        batch: &mut WriteBatch,
        old: &RoomId,
        new: &RoomId,
        aliases: &[(OwnedRoomAliasId, OwnedUserId)],
    ) -> Result<(), Error> {
        for (alias, creator) in aliases {
            batch.put(Table::Directory, alias_key(alias), alias_row(new, creator)?);
        }
        if self.is_published(old).await? {
            batch.delete(Table::Directory, published_key(old));
            batch.put(Table::Directory, published_key(new), []);
        }
        Ok(())
    }
}

/// An upgrade that may take place.
struct Upgrade {
    user_id: OwnedUserId,
    room_id: OwnedRoomId,
    old_version: RoomVersion,
    version: RoomVersion,
    additional_creators: Vec<OwnedUserId>,
    /// This server's aliases of the old room, and who made them.
    aliases: Vec<(OwnedRoomAliasId, OwnedUserId)>,
}

impl Upgrade {
    fn tombstone(&self, replacement: &RoomId) -> Draft {
        let content = json!({ "body": "This room has been replaced", "replacement_room": replacement });
        Draft::state(&self.user_id, TOMBSTONE.0, TOMBSTONE.1, object(content))
    }

    fn create_content(&self, old: &View, tombstone: Option<&Pdu>) -> JsonObject {
        let mut predecessor = object(json!({ "room_id": self.room_id }));
        predecessor.extend(tombstone.map(|pdu| ("event_id".to_owned(), pdu.event_id().as_str().into())));
        let mut content = object(json!({ "predecessor": predecessor }));
        let create = old.get("m.room.create", "");
        let field = |name: &str| create.and_then(|create| create.content().get(name)).cloned();
        content.extend(
            field("m.federate")
                .filter(Value::is_boolean)
                .map(|value| ("m.federate".to_owned(), value)),
        );
        content.extend(
            field("type")
                .filter(Value::is_string)
                .map(|value| ("type".to_owned(), value)),
        );
        if ranks_creators(self.version) && !self.additional_creators.is_empty() {
            content.insert("additional_creators".into(), json!(self.additional_creators));
        }
        content
    }

    /// The old room's power levels as the new version has them.
    fn levels(&self, old: &View) -> JsonObject {
        let own = (!ranks_creators(self.version)).then(|| (self.user_id.to_string(), 100.into()));
        let mut levels = match old.get("m.room.power_levels", "") {
            Some(event) => numbers_only(event.content()),
            None => first_levels(self.version, own.into_iter().collect()),
        };
        if ranks_creators(self.version) {
            if let Some(Value::Object(users)) = levels.get_mut("users") {
                users.retain(|user, _| !self.is_creator(user));
            }
            if !ranks_creators(self.old_version) {
                raise_event_level(&mut levels, TOMBSTONE.0, 150);
            }
        } else {
            // Where creators are not above all levels they have the highest: else nobody might have any.
            let highest = highest(&levels);
            for creator in old.ranking_creators() {
                if let Value::Object(users) = levels.entry("users").or_insert_with(|| json!({})) {
                    users.insert(creator.to_owned(), highest.into());
                }
            }
        }
        levels
    }

    fn is_creator(&self, user: &str) -> bool {
        self.user_id == user || self.additional_creators.iter().any(|creator| creator == user)
    }

    /// `levels`, with the one who upgrades high enough to copy everything.
    fn raised(&self, old: &View, levels: &JsonObject) -> JsonObject {
        let mut levels = levels.clone();
        if ranks_creators(self.version) {
            return levels;
        }
        let number = |field: &str, default| levels.get(field).and_then(integer).unwrap_or(default);
        let users = levels.get("users").and_then(Value::as_object);
        let level_of = |user: &str| {
            let own = users.and_then(|users| integer(users.get(user)?));
            own.unwrap_or_else(|| number("users_default", 0))
        };
        let events = levels.get("events").and_then(Value::as_object);
        let events = events
            .into_iter()
            .flat_map(|events| events.values().filter_map(integer));
        let banned = banned(old).map(|(user, _)| level_of(user.as_str()).saturating_add(1));
        let needed = events
            .chain(banned)
            .chain([number("state_default", 50), number("ban", 50)]);
        let needed = needed.max().unwrap_or(100).min(MAX_INTEGER);
        if level_of(self.user_id.as_str()) < needed {
            let users = levels.entry("users").or_insert_with(|| json!({}));
            if let Value::Object(users) = users {
                users.insert(self.user_id.to_string(), needed.into());
            }
        }
        levels
    }

    /// The state that is copied as it is.
    fn copied(&self, old: &View) -> Vec<Draft> {
        let rules = &self.version.rules().authorization;
        let plain = COPIED.into_iter().filter_map(|kind| old.get(kind, ""));
        let create = old.get("m.room.create", "");
        let is_space = create.is_some_and(|create| create.content_text("type") == Some("m.space"));
        let children = old
            .iter()
            .filter(|event| is_space && event.kind() == "m.space.child");
        let copied = plain.chain(children).filter(|event| !event.content().is_empty());
        copied
            .map(|event| {
                let mut content = event.content().clone();
                let unknown = match event.content_text("join_rule") {
                    Some("knock") => !rules.knocking,
                    Some("restricted") => !rules.restricted_join_rule,
                    Some("knock_restricted") => !rules.knock_restricted_join_rule,
                    _ => false,
                };
                if event.kind() == "m.room.join_rules" && unknown {
                    content = object(json!({ "join_rule": "invite" }));
                }
                let state_key = event.state_key().unwrap_or_default();
                Draft::state(&self.user_id, event.kind(), state_key, content)
            })
            .collect()
    }

    fn bans(&self, old: &View) -> Vec<Draft> {
        let ban = |(user, reason): (OwnedUserId, Option<&str>)| {
            let mut content = object(json!({ "membership": "ban" }));
            content.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
            Draft::member(&self.user_id, &user, content)
        };
        banned(old).map(ban).collect()
    }

    /// The canonical alias of the new and of the old room: each keeps those aliases that mean it. `None` where
    /// there is nothing to set.
    fn canonical_alias(&self, old: &View) -> (Option<JsonObject>, Option<JsonObject>) {
        let Some(event) = old.get("m.room.canonical_alias", "") else {
            return (None, None);
        };
        let moves = |alias: &Value| {
            self.aliases
                .iter()
                .any(|(moved, _)| Some(moved.as_str()) == alias.as_str())
        };
        let moved = only_aliases(event.content(), moves);
        let stays = only_aliases(event.content(), |alias| !moves(alias));
        match moved.is_empty() {
            true => (None, None),
            false => (Some(moved), Some(stays)),
        }
    }

    /// Adds to the old room what tells that it is replaced, and what keeps others from going on in it.
    async fn close(&self, state: &View, old: &mut Change<'_>, tombstone: Pdu) -> Result<(), Error> {
        old.append(tombstone, None, Audience::Room).await?;
        let levels = state
            .get("m.room.power_levels", "")
            .and_then(|event| muted(event.content()));
        let (_, alias) = self.canonical_alias(state);
        let drafts = [("m.room.canonical_alias", alias), ("m.room.power_levels", levels)];
        for (kind, content) in drafts {
            let Some(content) = content else { continue };
            // Who may send the tombstone need not have the power for these: the room is replaced all the same.
            match old.send(Draft::state(&self.user_id, kind, "", content)).await {
                Ok(_) => (),
                Err(Error::Forbidden(reason)) => {
                    tracing::info!(kind, reason, "a replaced room stays as it is")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The banned users, and why they are.
fn banned(state: &View) -> impl Iterator<Item = (OwnedUserId, Option<&str>)> {
    let members = state.iter().filter(|event| event.kind() == MEMBER);
    let bans = members.filter(|event| event.content_text("membership") == Some("ban"));
    bans.filter_map(|event| {
        Some((
            UserId::parse(event.state_key()?).ok()?,
            event.content_text("reason"),
        ))
    })
}

/// Power levels with every level as the integer that newer versions ask for. What is no number is left out.
fn numbers_only(levels: &JsonObject) -> JsonObject {
    let number =
        |value: &Value| integer(value).filter(|level| level.unsigned_abs() <= MAX_INTEGER.unsigned_abs());
    let mut fixed = levels.clone();
    for field in LEVELS {
        match levels.get(field).and_then(number) {
            Some(level) => drop(fixed.insert(field.into(), level.into())),
            None => drop(fixed.remove(field)),
        }
    }
    for field in LEVEL_MAPS {
        let Some(map) = levels.get(field).and_then(Value::as_object) else {
            fixed.remove(field);
            continue;
        };
        let kept = map
            .iter()
            .filter(|(key, _)| field != "users" || UserId::parse(key.as_str()).is_ok());
        let kept = kept.filter_map(|(key, value)| Some((key.clone(), number(value)?.into())));
        fixed.insert(field.into(), Value::Object(ordered::object(kept)));
    }
    fixed
}

/// The highest of all `levels`, and at least 100.
fn highest(levels: &JsonObject) -> i64 {
    let maps = LEVEL_MAPS
        .iter()
        .filter_map(|field| levels.get(*field)?.as_object());
    let single = LEVELS.iter().filter_map(|field| levels.get(*field));
    let all = single.chain(maps.flat_map(JsonObject::values));
    all.filter_map(integer).max().unwrap_or_default().max(100)
}

fn raise_event_level(levels: &mut JsonObject, kind: &str, least: i64) {
    if let Value::Object(events) = levels.entry("events").or_insert_with(|| json!({})) {
        let present = events.get(kind).and_then(integer).unwrap_or(least);
        events.insert(kind.into(), present.max(least).into());
    }
}

/// Power levels that take more than an ordinary member has to speak or invite; `None` if they do already.
fn muted(levels: &JsonObject) -> Option<JsonObject> {
    let number = |field: &str| levels.get(field).and_then(integer).unwrap_or(0);
    let least = number("users_default").saturating_add(1).clamp(50, MAX_INTEGER);
    let mut muted = levels.clone();
    for field in ["events_default", "invite"] {
        muted.insert(field.into(), number(field).max(least).into());
    }
    (muted != *levels).then_some(muted)
}

fn check_may_upgrade(user_id: &UserId, state: &View) -> Result<(), Error> {
    match state.may_send(user_id, TOMBSTONE.0, true) {
        true => Ok(()),
        false => Err(Error::Forbidden("you may not upgrade this room".into())),
    }
}

fn refused(error: Error) -> Error {
    match error {
        Error::Forbidden(reason) | Error::BadJson(reason) => Error::InvalidRoomState(reason),
        other => other,
    }
}
