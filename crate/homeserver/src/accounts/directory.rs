//! Finding users by name. Spec: Client-Server API, section 'User Directory'.
//!
//! Found are the users of this server, and the members of the rooms that the user is in or that anybody may join.
//! Members are kept by room in an index in memory, which is brought up to date by what the room's state
//! differs in from the one it was made of. It does *not* ask other servers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_storage::Table;
use lru::LruCache;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    ordered::object,
    rooms::{
        event::StoredEvent,
        tree::Nodes,
        view::{HISTORY_VISIBILITY, JOIN_RULES, MEMBER},
    },
    stored::{from_slice, scan_all},
};

/// The most members of all rooms in the index. The rooms that were not searched for the longest time go first.
const MAX_PEOPLE: usize = 50_000;
/// What the keys of profiles begin with.
const PROFILES: &[u8] = b"p\0";

/// A user that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The user.
    pub user_id: OwnedUserId,
    /// `displayname` and `avatar_url`, as far as known.
    pub profile: JsonObject,
}

/// The members of rooms that were searched.
pub(crate) struct Directory {
    rooms: Mutex<Index>,
}

struct Index {
    rooms: LruCache<OwnedRoomId, Arc<RoomPeople>>,
    /// How many members the rooms have together.
    people: usize,
}

/// The joined members of a room.
#[derive(Clone, Default)]
struct RoomPeople {
    /// The root of the state that they are of.
    root: String,
    people: BTreeMap<OwnedUserId, Arc<Person>>,
}

/// What a user can be found by, and is shown with.
struct Person {
    /// The display name in lower case.
    name: String,
    profile: JsonObject,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            rooms: Mutex::new(Index {
                rooms: LruCache::unbounded(),
                people: 0,
            }),
        }
    }
}

impl Directory {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, room_id: &RoomId) -> Option<Arc<RoomPeople>> {
        self.index().rooms.get(room_id).cloned()
    }
}

impl Index {
    fn keep(&mut self, room_id: &RoomId, room: &Arc<RoomPeople>) {
        self.people += room.people.len();
        if let Some(before) = self.rooms.put(room_id.to_owned(), room.clone()) {
            self.people -= before.people.len();
        }
        while self.people > MAX_PEOPLE {
            let Some((_, oldest)) = self.rooms.pop_lru() else {
                return;
            };
            self.people -= oldest.people.len();
        }
    }
}

impl Person {
    fn new(profile: &JsonObject) -> Arc<Self> {
        let name = profile.get("displayname").and_then(Value::as_str);
        Arc::new(Self {
            name: name.unwrap_or_default().to_lowercase(),
            profile: shown(profile),
        })
    }

    /// How well the user fits: 0 if `term` is their name, more the worse; `None` if not at all.
    fn rank(&self, user_id: &UserId, term: &str) -> Option<u8> {
        let id = user_id.as_str().to_lowercase();
        let local = user_id.localpart().to_lowercase();
        match () {
            () if self.name == term || local == term || id == term => Some(0),
            () if self.name.starts_with(term) || local.starts_with(term) => Some(1),
            () if self.name.split_whitespace().any(|word| word.starts_with(term)) => Some(2),
            () if self.name.contains(term) || id.contains(term) => Some(3),
            () => None,
        }
    }
}

impl Homeserver {
    /// At most `limit` users whose id or display name contains `term`, in any case, those that fit best first, and
    /// whether there are more.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn search_users(
        &self,
        user_id: &UserId,
        term: &str,
        limit: usize,
    ) -> Result<(Vec<FoundUser>, bool), Error> {
        let term = term.to_lowercase();
        let mut found = BTreeMap::new();
        for room_id in self.open_rooms(user_id).await? {
            let room = self.room_people(&room_id).await?;
            for (other, person) in &room.people {
                if let Some(rank) = person.rank(other, &term) {
                    found.insert(other.clone(), (rank, person.clone()));
                }
            }
        }
        for (other, person) in self.local_people().await? {
            match person.rank(&other, &term) {
                Some(rank) => drop(found.insert(other, (rank, person))),
                // Its own server knows a user better than a room does.
                None => drop(found.remove(&other)),
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(other, (rank, _))| (*rank, !self.is_local(other)));
        let limited = found.len() > limit;
        found.truncate(limit);
        let users = found.into_iter().map(|(user_id, (_, person))| FoundUser {
            user_id,
            profile: person.profile.clone(),
        });
        Ok((users.collect(), limited))
    }

    /// The rooms that the user is in, and those held here that anybody may join or read.
    async fn open_rooms(&self, user_id: &UserId) -> Result<Vec<OwnedRoomId>, Error> {
        let mut rooms = self.joined_rooms(user_id);
        for room_id in self.user_rooms.all_joined() {
            let Some(room) = self.room(&room_id).await?.filter(|_| !rooms.contains(&room_id)) else {
                continue;
            };
            let state = self
                .view(&room.snapshot(), &[JOIN_RULES, HISTORY_VISIBILITY])
                .await?;
            if state.text(JOIN_RULES, "join_rule") == Some("public")
                || state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable")
            {
                rooms.push(room_id);
            }
        }
        Ok(rooms)
    }

    /// The members of a room as it is now.
    async fn room_people(&self, room_id: &RoomId) -> Result<Arc<RoomPeople>, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(Arc::default());
        };
        let root = room.snapshot().record.state.clone();
        let known = self.directory.get(room_id);
        let people = match known {
            Some(known) if known.root == root => return Ok(known),
            Some(known) => self.people_after(&known, &root).await?,
            None => {
                let members = self.members_at(&root).await?;
                let mut people = RoomPeople::default();
                members.iter().for_each(|member| people.note(member));
                people
            }
        };
        let people = Arc::new(RoomPeople { root, ..people });
        self.directory.index().keep(room_id, &people);
        Ok(people)
    }

    /// The members in the state `root`, by what it differs in from the one that `known` is of.
    async fn people_after(&self, known: &RoomPeople, root: &str) -> Result<RoomPeople, Error> {
        let mut people = known.clone();
        let differences = self.tree_difference(&known.root, root, &Nodes::default()).await?;
        let members = differences.into_iter().filter(|entry| entry.event_type == MEMBER);
        let mut ids = Vec::new();
        for member in members {
            match member.after {
                Some(event_id) => ids.push(event_id),
                None => people.forget(&member.state_key),
            }
        }
        let events = self.stored_events(&ids).await?;
        events.iter().for_each(|member| people.note(member));
        Ok(people)
    }

    /// The users of this server, by their profiles.
    async fn local_people(&self) -> Result<Vec<(OwnedUserId, Arc<Person>)>, Error> {
        let mut profiles = BTreeMap::new();
        for (key, row) in scan_all(&*self.seams.store, Table::Accounts, PROFILES).await? {
            let user_id = key
                .get(PROFILES.len()..)
                .and_then(|user_id| str::from_utf8(user_id).ok());
            if let Some(user_id) = user_id {
                profiles.insert(user_id.to_owned(), from_slice::<JsonObject>(&row)?);
            }
        }
        let users = self.users().await?.into_iter().map(|user_id| {
            let profile = profiles.remove(user_id.as_str()).unwrap_or_default();
            (user_id, Person::new(&profile))
        });
        Ok(users.collect())
    }
}

impl RoomPeople {
    fn note(&mut self, member: &StoredEvent) {
        let Some(user_id) = member.state_key().and_then(|user| UserId::parse(user).ok()) else {
            return;
        };
        match member.content_text("membership") {
            Some("join") => drop(self.people.insert(user_id, Person::new(member.content()))),
            _ => drop(self.people.remove(&user_id)),
        }
    }

    fn forget(&mut self, user_id: &str) {
        self.people.retain(|other, _| other != user_id);
    }
}

/// The public fields of a profile or membership.
fn shown(content: &JsonObject) -> JsonObject {
    let fields = ["displayname", "avatar_url"].into_iter();
    let texts =
        fields.filter_map(|field| Some((field, content.get(field).filter(|value| value.is_string())?)));
    object(texts.map(|(field, value)| (field.to_owned(), value.clone())))
}
