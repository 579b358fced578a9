//! What a client asks of sliding sync, as matrix-js-sdk and matrix-rust-sdk write it.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use ruma_common::{OwnedRoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{Error, presence::PresenceState, rooms::view::MEMBER, stored::to_vec};

/// The most lists, and the most bytes of the name of one or of a connection.
const MAX_LISTS: usize = 100;
const MAX_NAME: usize = 64;
/// The most ranges of a list, and pairs of required state.
const MAX_RANGES: usize = 100;
const MAX_REQUIRED: usize = 500;
/// The most pairs of required state of all lists together. Of each room they are compared with each other.
const MAX_REQUIRED_OF_LISTS: usize = 1000;
/// The most subscriptions.
const MAX_SUBSCRIPTIONS: usize = 1000;
/// The most bytes of all subscriptions of a connection together, as they are stored.
const MAX_KEPT: usize = 256 * 1024;

/// Any type, any state key.
const ANY: &str = "*";
/// The state key that stands for the user.
const ME: &str = "$ME";
/// The state key that stands for those who sent the events of the timeline.
const LAZY: &str = "$LAZY";

/// The body of the request, with what is in its query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SlidingRequest {
    /// Where the last answer left off.
    #[serde(skip)]
    pub pos: Option<String>,
    /// How long to wait if there is nothing to tell.
    #[serde(skip)]
    pub timeout: Duration,
    /// What the sync says of whether the user is there.
    #[serde(skip)]
    pub presence: PresenceState,
    /// Which of the device's connections it is.
    pub conn_id: Option<String>,
    /// What the answer repeats.
    pub txn_id: Option<String>,
    /// Lists of rooms, by name.
    pub lists: BTreeMap<String, List>,
    /// Single rooms, beside those that earlier requests named.
    pub room_subscriptions: BTreeMap<OwnedRoomId, RoomConfig>,
    /// Single rooms that earlier requests named.
    pub unsubscribe_rooms: BTreeSet<OwnedRoomId>,
    /// What else is asked for.
    pub extensions: Extensions,
}

/// A part of the user's rooms, those where something happened last first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct List {
    /// Which of the rooms to send: first and last index.
    pub ranges: Vec<(u64, u64)>,
    /// What to send of them.
    #[serde(flatten)]
    pub config: RoomConfig,
    /// Which rooms are in the list.
    pub filters: Option<Filters>,
}

/// What to send of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomConfig {
    /// State, by type and state key.
    pub required_state: Vec<(String, String)>,
    /// The most events of the timeline.
    pub timeline_limit: u64,
}

/// Which rooms are in a list: those that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Whether `m.direct` names the room.
    pub is_dm: Option<bool>,
    /// Whether the room is encrypted.
    pub is_encrypted: Option<bool>,
    /// Whether the user is invited.
    pub is_invite: Option<bool>,
    /// A part of the room's name.
    pub room_name_like: Option<String>,
    /// The room's type, `null` for none.
    pub room_types: Option<Vec<Option<String>>>,
    /// Types that the room is not of.
    pub not_room_types: Option<Vec<Option<String>>>,
    /// Spaces, of one of which the room is a child.
    pub spaces: Option<Vec<OwnedRoomId>>,
    /// Tags, one of which the room has.
    pub tags: Option<Vec<String>>,
    /// Tags that the room does not have.
    pub not_tags: Option<Vec<String>>,
}

/// What else is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Extensions {
    /// Messages for the device.
    pub to_device: ToDevice,
    /// Device lists and key counts.
    pub e2ee: Extension,
    /// Account data.
    pub account_data: Extension,
    /// Receipts.
    pub receipts: Extension,
    /// Typing notices.
    pub typing: Extension,
    /// Thread subscriptions (MSC4308).
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    pub thread_subscriptions: ThreadSubscriptions,
}

/// An extension, and of which of the rooms that are sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// Whether it is wanted.
    pub enabled: bool,
    /// The lists whose rooms it is wanted for; by default all.
    pub lists: Option<Vec<String>>,
    /// The subscribed rooms it is wanted for; by default all.
    pub rooms: Option<Vec<String>>,
}

/// Messages for the device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToDevice {
    /// Whether they are wanted.
    pub enabled: bool,
    /// The most of them.
    pub limit: Option<u64>,
    /// Where the last answer left off.
    pub since: Option<String>,
}

/// Thread subscriptions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ThreadSubscriptions {
    /// Whether they are wanted.
    pub enabled: bool,
    /// The most of them.
    pub limit: Option<u64>,
}

impl SlidingRequest {
    /// Checks that nothing of it is too much.
    ///
    /// # Errors
    /// [`Error::InvalidParam`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |what: &str| Err(Error::InvalidParam(what.to_owned()));
        if self.conn_id.as_ref().is_some_and(|name| !is_name(name)) {
            return invalid("conn_id has at most 64 bytes");
        }
        if self.lists.len() > MAX_LISTS || !self.lists.keys().all(|name| is_name(name)) {
            return invalid("there are at most 100 lists, with names of at most 64 bytes");
        }
        if self.room_subscriptions.len() > MAX_SUBSCRIPTIONS {
            return invalid("there are at most 1,000 subscriptions");
        }
        let lists = self.lists.values();
        let is_wrong = |list: &List| {
            list.ranges.len() > MAX_RANGES || list.ranges.iter().any(|(first, last)| first > last)
        };
        if lists.clone().any(is_wrong) {
            return invalid("a range has a first index and a last one that is not less");
        }
        let pairs: usize = lists.clone().map(|list| list.config.required_state.len()).sum();
        if pairs > MAX_REQUIRED_OF_LISTS {
            return invalid("required_state of all lists has at most 1,000 pairs");
        }
        let mut configs = lists
            .map(|list| &list.config)
            .chain(self.room_subscriptions.values());
        match configs.all(RoomConfig::is_right) {
            true => Ok(()),
            false => invalid("required_state has at most 500 pairs, $ME and $LAZY are of members"),
        }
    }
}

impl SlidingRequest {
    /// Goes on with the subscriptions of earlier requests, but for those that this one ends or says anew. If all together
    /// are too much they are forgotten: clients that name all that they want in each request never end one.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if those of this request are too much.
    pub(super) fn keep_subscriptions(
        &mut self,
        earlier: &BTreeMap<OwnedRoomId, RoomConfig>,
    ) -> Result<(), Error> {
        let kept = earlier
            .iter()
            .filter(|(room_id, _)| !self.unsubscribe_rooms.contains(*room_id));
        let mut all = self.room_subscriptions.clone();
        for (room_id, config) in kept {
            all.entry(room_id.clone()).or_insert_with(|| config.clone());
        }
        if self.room_subscriptions.is_empty() || !are_too_much(&all)? {
            self.room_subscriptions = all;
        } else if are_too_much(&self.room_subscriptions)? {
            return Err(Error::InvalidParam(
                "a connection has at most 1,000 subscriptions, of 256 KiB together".into(),
            ));
        }
        Ok(())
    }
}

fn are_too_much(subscriptions: &BTreeMap<OwnedRoomId, RoomConfig>) -> Result<bool, Error> {
    Ok(subscriptions.len() > MAX_SUBSCRIPTIONS || to_vec(subscriptions)?.len() > MAX_KEPT)
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.contains('\0')
}

impl List {
    /// Which of `rooms` are in the ranges.
    pub(super) fn window<'a, T>(&self, rooms: &'a [T]) -> Vec<&'a T> {
        let is_in = |index: u64| {
            self.ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&index))
        };
        let rooms = (0u64..).zip(rooms).filter(|(index, _)| is_in(*index));
        rooms.map(|(_, room)| room).collect()
    }
}

impl RoomConfig {
    fn is_right(&self) -> bool {
        self.required_state.len() <= MAX_REQUIRED
    }

    /// What both ask for.
    pub(super) fn join(&mut self, other: &Self) {
        self.timeline_limit = self.timeline_limit.max(other.timeline_limit);
        for pair in &other.required_state {
            if !self.required_state.contains(pair) {
                self.required_state.push(pair.clone());
            }
        }
    }

    /// A number that is another one for other required state.
    pub(super) fn required_hash(&self) -> u64 {
        let mut pairs: Vec<_> = self.required_state.iter().collect();
        pairs.sort_unstable();
        let mut hasher = DefaultHasher::new();
        pairs.hash(&mut hasher);
        hasher.finish()
    }

    /// The types of the required state; `None` for all.
    pub(super) fn types(&self) -> Option<Vec<String>> {
        let types = self.required_state.iter().map(|(kind, _)| kind);
        match types.clone().any(|kind| kind == ANY) {
            true => None,
            false => Some(types.cloned().collect()),
        }
    }

    /// Whether all members are asked for.
    pub(super) fn wants_all_members(&self) -> bool {
        self.members().any(|key| key == ANY)
    }

    /// Whether the members who sent the timeline are asked for.
    pub(super) fn is_lazy(&self) -> bool {
        self.members().any(|key| key == LAZY)
    }

    /// The users whose memberships are asked for by name.
    pub(super) fn named_members(&self, user_id: &UserId) -> BTreeSet<String> {
        let named = self.members().filter(|key| !matches!(*key, ANY | LAZY));
        ordered::set(named.map(|key| if key == ME { user_id.as_str() } else { key }.to_owned()))
    }

    fn members(&self) -> impl Iterator<Item = &str> {
        let members = self
            .required_state
            .iter()
            .filter(|(kind, _)| kind == MEMBER || kind == ANY);
        members.map(|(_, key)| key.as_str())
    }

    /// Whether the state `(kind, state_key)` is asked for; `lazy` are those who sent the timeline.
    pub(super) fn wants(
        &self,
        kind: &str,
        state_key: &str,
        user_id: &UserId,
        lazy: &BTreeSet<String>,
    ) -> bool {
        self.required_state.iter().any(|(wanted, key)| {
            let is_key = match key.as_str() {
                ANY => true,
                ME => state_key == user_id,
                LAZY => kind == MEMBER && lazy.contains(state_key),
                key => key == state_key,
            };
            is_key && (wanted == ANY || wanted == kind)
        })
    }
}

impl Extension {
    /// Of which rooms it is wanted, of those in the windows of lists and those subscribed to.
    pub(super) fn rooms<'a>(
        &self,
        lists: &'a BTreeMap<String, BTreeSet<OwnedRoomId>>,
        subscribed: &'a BTreeSet<OwnedRoomId>,
    ) -> BTreeSet<&'a OwnedRoomId> {
        let named = |names: &Option<Vec<String>>, name: &str| {
            names
                .as_ref()
                .is_none_or(|names| names.iter().any(|other| other == name || other == ANY))
        };
        let of_lists = lists.iter().filter(|(name, _)| named(&self.lists, name));
        let of_lists = of_lists.flat_map(|(_, rooms)| rooms);
        let rooms = subscribed
            .iter()
            .filter(|room_id| named(&self.rooms, room_id.as_str()));
        ordered::set(of_lists.chain(rooms))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use ruma_common::user_id;
    use serde_json::json;

    use super::*;

    fn config(required: serde_json::Value) -> RoomConfig {
        serde_json::from_value(json!({"required_state": required, "timeline_limit": 1})).unwrap()
    }

    #[test]
    fn required_state_has_wildcards() {
        let me = user_id!("@me:x");
        let lazy = BTreeSet::from(["@you:x".to_owned()]);
        let wants = |required, kind: &str, key: &str| config(required).wants(kind, key, me, &lazy);
        assert!(wants(json!([["m.room.name", ""]]), "m.room.name", ""));
        assert!(!wants(json!([["m.room.name", ""]]), "m.room.name", "x"));
        assert!(wants(json!([["m.room.name", "*"]]), "m.room.name", "x"));
        assert!(wants(json!([["*", ""]]), "m.room.topic", ""));
        assert!(!wants(json!([["*", ""]]), MEMBER, "@me:x"));
        assert!(wants(json!([[MEMBER, "$ME"]]), MEMBER, "@me:x"));
        assert!(!wants(json!([[MEMBER, "$ME"]]), MEMBER, "@you:x"));
        assert!(wants(json!([[MEMBER, "$LAZY"]]), MEMBER, "@you:x"));
        assert!(!wants(json!([[MEMBER, "$LAZY"]]), MEMBER, "@they:x"));
        assert!(!wants(json!([]), "m.room.name", ""));
    }

    #[test]
    fn windows_are_the_union_of_ranges() {
        let list = List {
            ranges: vec![(0, 1), (1, 2), (5, 100)],
            ..List::default()
        };
        let rooms: Vec<_> = (0..8).collect();
        assert_eq!(list.window(&rooms), [&0, &1, &2, &5, &6, &7]);
    }

    #[test]
    fn too_much_is_refused() {
        let request = |json| serde_json::from_value::<SlidingRequest>(json).unwrap();
        assert!(request(json!({})).check().is_ok());
        assert!(request(json!({"conn_id": "x".repeat(65)})).check().is_err());
        assert!(
            request(json!({"lists": {"a": {"ranges": [[2, 1]]}}}))
                .check()
                .is_err()
        );
        let pairs = vec![["a", "b"]; 501];
        let list = json!({"lists": {"a": {"ranges": [[0, 1]], "required_state": pairs}}});
        assert!(request(list).check().is_err());
        let lists = |count: usize| {
            let list = json!({"ranges": [[0, 1]], "required_state": vec![["a", "b"]; 250]});
            let lists: BTreeMap<_, _> = (0..count).map(|name| (name.to_string(), &list)).collect();
            request(json!({"lists": lists}))
        };
        assert!(lists(4).check().is_ok());
        assert!(lists(5).check().is_err());
    }
}
