//! Whom a local user does not want to hear from.
//!
//! Three things say so, all of them in the user's account data:
//! * `m.ignored_user_list` (spec: 'Ignoring Users'): those users' messages and invites are not shown;
//! * `m.invite_permission_config` and its MSC4155 form: whose invites are refused, or taken and not shown;
//! * the policy lists that the user subscribes to. A list counts if it is named in `m.policies` (MSC3847, also as
//!   `org.matrix.msc3847.policies`: `sources` and `target` of `m.ignore.invites`), which is where matrix-js-sdk
//!   keeps them, or in `references` of `org.matrix.mjolnir.watched_lists`, which is where Draupnir and Mjolnir do;
//!   and if the user is in the list's room. Whom a rule of it bans is ignored, and their invites are refused, as
//!   are invites to a room that a rule bans.
//!
//! `m.direct` is kept beside them, because sliding sync asks for it as often. State is shown whoever set it. What is found is kept in memory, until the account data
//! changes; of a list, until its room's state does. It does *not* ban anybody from a room.

pub(crate) mod glob;
mod invite_permission;
mod list;

use hearth_rooms::ordered;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use percent_encoding::percent_decode_str;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::Value;

use self::{
    invite_permission::InvitePermission,
    list::{PolicyList, ROOM_RULES, SERVER_RULES, USER_RULES},
};
use crate::{Error, Homeserver, JsonObject, rooms::event::StoredEvent};

const DIRECT: &str = "m.direct";
const IGNORED: &str = "m.ignored_user_list";
const POLICIES: [&str; 2] = ["m.policies", "org.matrix.msc3847.policies"];
const IGNORE_INVITES: [&str; 2] = ["m.ignore.invites", "org.matrix.msc3847.ignore.invites"];
const WATCHED_LISTS: &str = "org.matrix.mjolnir.watched_lists";
/// The most ignored users that are looked at.
const MAX_IGNORED: usize = 10_000;
/// The most policy lists of one user.
const MAX_LISTS: usize = 50;
/// The most users and lists that are kept in memory.
const MAX_KEPT: usize = 500;

/// What becomes of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is shown.
    Allowed,
    /// It is taken, and not shown.
    Ignored,
    /// It is refused.
    Blocked,
}

/// What is kept in memory.
#[derive(Default)]
pub(crate) struct Policies {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    users: HashMap<OwnedUserId, Arc<Wishes>>,
    /// By room, with the root of the state that the list was read from.
    lists: HashMap<OwnedRoomId, (String, Arc<PolicyList>)>,
    /// How often account data that counts was changed.
    changes: u64,
}

/// What a user's account data says.
#[derive(Debug, Default)]
struct Wishes {
    ignored: BTreeSet<OwnedUserId>,
    /// By the spec, and by MSC4155.
    invites: [InvitePermission; 2],
    lists: BTreeSet<OwnedRoomId>,
    /// Rooms that are conversations with one other user: `m.direct`.
    direct: BTreeSet<OwnedRoomId>,
}

/// Whom a user does not want to hear from, at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    user_id: OwnedUserId,
    wishes: Arc<Wishes>,
    lists: Vec<Arc<PolicyList>>,
}

impl Refusals {
    /// Whether messages of `sender` are not shown.
    pub(crate) fn ignores(&self, sender: &UserId) -> bool {
        sender != self.user_id && (self.wishes.ignored.contains(sender) || self.bans(sender))
    }

    /// Whether nobody's messages are hidden.
    pub(crate) fn is_empty(&self) -> bool {
        self.wishes.ignored.is_empty() && self.lists.is_empty()
    }

    /// Whether these are certainly the same as `others`.
    pub(crate) fn is_same(&self, others: &Self) -> bool {
        let mut lists = self.lists.iter().zip(&others.lists);
        Arc::ptr_eq(&self.wishes, &others.wishes)
            && self.lists.len() == others.lists.len()
            && lists.all(|(list, other)| Arc::ptr_eq(list, other))
    }

    /// Whether `event` is not shown: a message of somebody who is ignored.
    pub(crate) fn hides(&self, event: &StoredEvent) -> bool {
        event.state_key().is_none() && self.ignores(event.sender())
    }

    /// Whether the user calls the room a direct chat.
    pub(crate) fn is_direct(&self, room_id: &RoomId) -> bool {
        self.wishes.direct.contains(room_id)
    }

    /// What becomes of an invite; `room_id` is `None` for a room that is being made.
    pub(crate) fn verdict(&self, sender: &UserId, room_id: Option<&RoomId>) -> Verdict {
        let bans = |list: &Arc<PolicyList>| room_id.is_some_and(|room_id| list.bans_room(room_id));
        if self.bans(sender) || self.lists.iter().any(bans) {
            return Verdict::Blocked;
        }
        let mut verdicts = self.wishes.invites.iter().map(|config| config.verdict(sender));
        match verdicts.find(|verdict| *verdict != Verdict::Allowed) {
            Some(verdict) => verdict,
            None if self.wishes.ignored.contains(sender) => Verdict::Ignored,
            None => Verdict::Allowed,
        }
    }

    fn bans(&self, sender: &UserId) -> bool {
        self.lists.iter().any(|list| list.bans_user(sender))
    }
}

impl Policies {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the user's account data of type `kind` was changed.
    pub(crate) fn account_data_changed(&self, user_id: &UserId, kind: &str) {
        let single = [
            DIRECT,
            IGNORED,
            WATCHED_LISTS,
            invite_permission::STABLE,
            invite_permission::UNSTABLE,
        ];
        if single.contains(&kind) || POLICIES.contains(&kind) {
            let mut kept = self.kept();
            kept.changes += 1;
            kept.users.remove(user_id);
        }
    }
}

impl Kept {
    /// Keeps what was read, unless account data was changed since there had been `changes`.
    fn keep(&mut self, user_id: &UserId, changes: u64, wishes: &Arc<Wishes>) {
        if self.changes != changes {
            return;
        }
        if self.users.len() >= MAX_KEPT {
            self.users.clear();
        }
        self.users.insert(user_id.to_owned(), wishes.clone());
    }

    fn keep_list(&mut self, room_id: &RoomId, root: &str, list: &Arc<PolicyList>) {
        if self.lists.len() >= MAX_KEPT {
            self.lists.clear();
        }
        self.lists
            .insert(room_id.to_owned(), (root.to_owned(), list.clone()));
    }
}

impl Homeserver {
    /// Whom the local user does not want to hear from. Reads the store only after something of it has changed.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn refusals(&self, user_id: &UserId) -> Result<Refusals, Error> {
        let wishes = self.wishes(user_id).await?;
        let mut lists = Vec::new();
        for room_id in &wishes.lists {
            lists.extend(self.policy_list(user_id, room_id).await?);
        }
        Ok(Refusals {
            user_id: user_id.to_owned(),
            wishes,
            lists,
        })
    }

    /// Refuses an invite that the local user `target` does not want.
    ///
    /// # Errors
    /// [`Error::InviteBlocked`].
    pub(crate) async fn check_invited(
        &self,
        sender: &UserId,
        room_id: Option<&RoomId>,
        target: &UserId,
    ) -> Result<(), Error> {
        match self.refusals(target).await?.verdict(sender, room_id) {
            Verdict::Blocked => Err(Error::InviteBlocked),
            Verdict::Allowed | Verdict::Ignored => Ok(()),
        }
    }

    /// Whether the local user is shown the invite (or whatever else their membership is) to the room.
    pub(crate) async fn is_invite_shown(
        &self,
        refusals: &Refusals,
        room_id: &RoomId,
        event_id: &ruma_common::EventId,
    ) -> Result<bool, Error> {
        let event = self.stored_event(event_id).await?;
        Ok(event.is_none_or(|event| refusals.verdict(event.sender(), Some(room_id)) == Verdict::Allowed))
    }

    async fn wishes(&self, user_id: &UserId) -> Result<Arc<Wishes>, Error> {
        let changes = {
            let kept = self.policies.kept();
            if let Some(wishes) = kept.users.get(user_id) {
                return Ok(wishes.clone());
            }
            kept.changes
        };
        let wishes = Arc::new(Wishes::new(self.account_data_of(user_id, None).await?));
        self.policies.kept().keep(user_id, changes, &wishes);
        Ok(wishes)
    }

    /// The policy list of the room, if the user is in it.
    async fn policy_list(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<Arc<PolicyList>>, Error> {
        let joined = self
            .user_membership(user_id, room_id)
            .is_some_and(|entry| entry.membership == "join");
        let Some(room) = self.room(room_id).await?.filter(|_| joined) else {
            return Ok(None);
        };
        let root = room.snapshot().record.state.clone();
        if let Some((_, list)) = self
            .policies
            .kept()
            .lists
            .get(room_id)
            .filter(|(known, _)| *known == root)
        {
            return Ok(Some(list.clone()));
        }
        let mut ids = Vec::new();
        for kind in USER_RULES.into_iter().chain(ROOM_RULES).chain(SERVER_RULES) {
            let rules = self.tree_of_type(&root, kind).await?;
            ids.extend(rules.into_iter().map(|(_, event_id)| event_id));
        }
        let rules = self.stored_events(&ids).await?;
        let list = Arc::new(PolicyList::new(rules.iter().map(|rule| &**rule)));
        self.policies.kept().keep_list(room_id, &root, &list);
        Ok(Some(list))
    }
}

impl Wishes {
    fn new(account_data: Vec<(String, JsonObject)>) -> Self {
        let mut wishes = Self::default();
        for (kind, content) in account_data {
            match kind.as_str() {
                DIRECT => wishes.direct = direct_rooms(&content),
                IGNORED => wishes.ignored = ignored_users(&content),
                WATCHED_LISTS => wishes.lists.extend(watched_lists(&content)),
                invite_permission::STABLE => wishes.invites[0] = InvitePermission::parse(content),
                invite_permission::UNSTABLE => wishes.invites[1] = InvitePermission::parse(content),
                kind if POLICIES.contains(&kind) => wishes.lists.extend(policy_rooms(&content)),
                _ => (),
            }
        }
        while wishes.lists.len() > MAX_LISTS {
            wishes.lists.pop_last();
        }
        wishes
    }
}

fn ignored_users(content: &JsonObject) -> BTreeSet<OwnedUserId> {
    let users = content.get("ignored_users").and_then(Value::as_object);
    let users = users.into_iter().flat_map(JsonObject::keys).take(MAX_IGNORED);
    ordered::set(users.filter_map(|user| UserId::parse(user.as_str()).ok()))
}

fn direct_rooms(content: &JsonObject) -> BTreeSet<OwnedRoomId> {
    let rooms = content.values().filter_map(Value::as_array).flatten();
    ordered::set(rooms.filter_map(|room| RoomId::parse(room.as_str()?).ok()))
}

/// The rooms that MSC3847 names.
fn policy_rooms(content: &JsonObject) -> Vec<OwnedRoomId> {
    let policies = IGNORE_INVITES.iter().filter_map(|key| content.get(*key));
    let rooms = policies.flat_map(|policy| {
        let sources = policy.get("sources").and_then(Value::as_array);
        sources.into_iter().flatten().chain(policy.get("target"))
    });
    rooms
        .filter_map(|room| RoomId::parse(room.as_str()?).ok())
        .collect()
}

/// The rooms that links of Mjolnir's kind (`https://matrix.to/#/!room:server?via=…`) name. Aliases are not followed.
fn watched_lists(content: &JsonObject) -> Vec<OwnedRoomId> {
    let references = content.get("references").and_then(Value::as_array);
    let room = |link: &Value| {
        let (_, room) = link.as_str()?.split_once("/#/")?;
        let room = room.split(['?', '/']).next()?;
        RoomId::parse(percent_decode_str(room).decode_utf8().ok()?.as_ref()).ok()
    };
    references.into_iter().flatten().filter_map(room).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_named_in_three_ways() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let wishes = Wishes::new(vec![
            (
                "org.matrix.msc3847.policies".into(),
                object(
                    json!({"org.matrix.msc3847.ignore.invites": {"sources": ["!a:x", 1], "target": "!b:x"}}),
                ),
            ),
            (
                "m.policies".into(),
                object(json!({"m.ignore.invites": {"sources": ["!c:x"]}})),
            ),
            (
                "org.matrix.mjolnir.watched_lists".into(),
                object(
                    json!({"references": ["https://matrix.to/#/%21d%3Ax?via=x", "https://matrix.to/#/#e:x", 3]}),
                ),
            ),
        ]);
        let rooms: Vec<_> = wishes.lists.iter().map(|room| room.as_str()).collect();
        assert_eq!(rooms, ["!a:x", "!b:x", "!c:x", "!d:x"]);
    }
}
