//! Reading the state of a room: what is needed of it is named, read at once, and then looked at.
//!
//! The state itself is a tree in the store; only its root is part of a [`Snapshot`]. A [`View`] holds the few
//! entries that somebody asked for. It does *not* change when the room does.

use std::{collections::BTreeMap, sync::Arc};

use hearth_rooms::Pdu;
use ruma_common::{OwnedEventId, UserId};
use ruma_events::StateEventType;

use crate::{
    Error, Homeserver,
    rooms::{change::Change, event::StoredEvent, room::Snapshot, tree::Nodes},
};

/// The type and state key of an entry.
pub type Key<'a> = (&'a str, &'a str);

/// The create event.
pub const CREATE: Key<'static> = ("m.room.create", "");
/// The power levels. What [`View::power_level`] and its like need beside [`CREATE`].
pub const POWER_LEVELS: Key<'static> = ("m.room.power_levels", "");
/// Who may join.
pub const JOIN_RULES: Key<'static> = ("m.room.join_rules", "");
/// Who may see what happened.
pub const HISTORY_VISIBILITY: Key<'static> = ("m.room.history_visibility", "");
/// Which servers are kept out.
pub const SERVER_ACL: Key<'static> = ("m.room.server_acl", "");
/// The main alias.
pub const CANONICAL_ALIAS: Key<'static> = ("m.room.canonical_alias", "");
/// The name.
pub const NAME: Key<'static> = ("m.room.name", "");
/// The topic.
pub const TOPIC: Key<'static> = ("m.room.topic", "");
/// The picture.
pub const AVATAR: Key<'static> = ("m.room.avatar", "");
/// Whether guests may join.
pub const GUEST_ACCESS: Key<'static> = ("m.room.guest_access", "");
/// By which room this one is replaced.
pub const TOMBSTONE: Key<'static> = ("m.room.tombstone", "");
/// The type of memberships.
pub const MEMBER: &str = "m.room.member";

/// The membership of `user_id`.
pub fn member(user_id: &UserId) -> Key<'_> {
    (MEMBER, user_id.as_str())
}

/// Some entries of one state: those that were asked for.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By type and state key; `None` is an entry that the state does not have.
    entries: BTreeMap<String, BTreeMap<String, Option<Arc<StoredEvent>>>>,
}

impl View {
    /// What was found of `keys`.
    fn new(keys: &[Key<'_>], found: impl IntoIterator<Item = Arc<StoredEvent>>) -> Self {
        let mut view = Self::default();
        for (kind, state_key) in keys {
            view.set(kind, state_key, None);
        }
        view.extend(found);
        view
    }

    /// Adds further events of the same state.
    pub(crate) fn extend(&mut self, found: impl IntoIterator<Item = Arc<StoredEvent>>) {
        for event in found {
            if let Some(state_key) = event.state_key() {
                self.set(event.kind(), state_key, Some(event.clone()));
            }
        }
    }

    fn set(&mut self, kind: &str, state_key: &str, event: Option<Arc<StoredEvent>>) {
        let entries = self.entries.entry(kind.to_owned()).or_default();
        entries.insert(state_key.to_owned(), event);
    }

    /// The event of `kind` with `state_key`, which was asked for: what was not is taken for absent, and in a
    /// debug build for a mistake.
    pub fn get(&self, kind: &str, state_key: &str) -> Option<&Arc<StoredEvent>> {
        let entry = self.entries.get(kind).and_then(|entries| entries.get(state_key));
        debug_assert!(entry.is_some(), "({kind}, {state_key}) was not asked for");
        entry?.as_ref()
    }

    /// [`View::get`] as authorisation asks for it.
    pub(crate) fn pdu(&self, kind: &StateEventType, state_key: &str) -> Option<Pdu> {
        Some(self.get(&kind.to_string(), state_key)?.pdu.clone())
    }

    /// A string field of the content of `(kind, state_key)`.
    pub fn text(&self, (kind, state_key): Key<'_>, field: &str) -> Option<&str> {
        self.get(kind, state_key)?.content_text(field)
    }

    /// The events that are there.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.entries.values().flat_map(BTreeMap::values).flatten()
    }

    /// The membership of a user; `leave` if there is none. Needs [`member`].
    pub fn membership(&self, user_id: &UserId) -> &str {
        self.text(member(user_id), "membership").unwrap_or("leave")
    }
}

impl Homeserver {
    /// The entries `keys` of the room's state.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn view(&self, snapshot: &Snapshot, keys: &[Key<'_>]) -> Result<View, Error> {
        self.view_at(&snapshot.record.state, keys).await
    }

    /// The entries `keys` of the state whose root is `root`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn view_at(&self, root: &str, keys: &[Key<'_>]) -> Result<View, Error> {
        let ids = present(self.tree_get(root, keys, &Nodes::default()).await?);
        Ok(View::new(keys, self.stored_events(&ids).await?))
    }
}

impl Change<'_> {
    /// The entries `keys` of the state as it is now in this change.
    pub(crate) async fn view(&self, keys: &[Key<'_>]) -> Result<View, Error> {
        self.view_at(&self.snapshot.record.state, keys).await
    }

    /// The entries `keys` of the state whose root is `root`.
    pub(crate) async fn view_at(&self, root: &str, keys: &[Key<'_>]) -> Result<View, Error> {
        let ids = present(self.homeserver().tree_get(root, keys, self.nodes()).await?);
        Ok(View::new(keys, self.known_events(&ids).await?))
    }

    /// The entries of the state `root` that authorisation looks at: those of `types`, and the create event.
    pub(crate) async fn authorising(
        &self,
        root: &str,
        types: &[(StateEventType, String)],
    ) -> Result<View, Error> {
        let names: Vec<_> = types.iter().map(|(kind, _)| kind.to_string()).collect();
        let keys = names.iter().zip(types);
        let keys = keys.map(|(kind, (_, state_key))| (kind.as_str(), state_key.as_str()));
        self.view_at(root, &keys.chain([CREATE]).collect::<Vec<_>>())
            .await
    }
}

fn present(ids: Vec<Option<OwnedEventId>>) -> Vec<OwnedEventId> {
    ids.into_iter().flatten().collect()
}
