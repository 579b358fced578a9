//! What lists are filtered by.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::Value;

use super::{super::Context, request::Filters};
use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        memberships::UserMembership,
        view::{CREATE, Key, NAME},
    },
};

const ENCRYPTION: Key<'static> = ("m.room.encryption", "");
/// The type of what makes a room a child of a space.
const CHILD: &str = "m.space.child";
/// The most facts that are kept.
const MAX_KEPT: usize = 5_000;

/// What is known of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    name: Option<String>,
    kind: Option<String>,
    encrypted: bool,
}

/// By whose they are, if they are of an invite, and of which room.
type FactMap = HashMap<(Option<OwnedUserId>, OwnedRoomId), (String, Arc<Facts>)>;

/// Facts of rooms, each with what they were found in: the root of the state, or an invite.
#[derive(Default)]
pub(super) struct FactCache {
    kept: Mutex<FactMap>,
}

impl FactCache {
    fn kept(&self) -> MutexGuard<'_, FactMap> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What filters need beside the facts of single rooms.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    /// Children of spaces that filters name.
    children: HashMap<OwnedRoomId, BTreeSet<OwnedRoomId>>,
    /// The user's tags, if filters name any.
    tags: HashMap<OwnedRoomId, BTreeSet<String>>,
}

impl Filters {
    /// Whether the facts of rooms are needed.
    fn needs_facts(&self) -> bool {
        self.is_encrypted.is_some()
            || self.room_name_like.is_some()
            || self.room_types.is_some()
            || self.not_room_types.is_some()
    }

    fn allows_facts(&self, facts: &Facts) -> bool {
        let like = |part: &String| {
            let name = facts.name.as_deref().unwrap_or_default().to_lowercase();
            name.contains(&part.to_lowercase())
        };
        self.is_encrypted.is_none_or(|wanted| wanted == facts.encrypted)
            && self.room_name_like.as_ref().is_none_or(like)
            && self
                .room_types
                .as_ref()
                .is_none_or(|kinds| kinds.contains(&facts.kind))
            && self
                .not_room_types
                .as_ref()
                .is_none_or(|kinds| !kinds.contains(&facts.kind))
    }
}

impl Belongings {
    fn allows(&self, filters: &Filters, room_id: &RoomId) -> bool {
        let in_space = |space: &OwnedRoomId| {
            self.children
                .get(space)
                .is_some_and(|children| children.contains(room_id))
        };
        let has = |tags: &Vec<String>| {
            let own = self.tags.get(room_id);
            own.is_some_and(|own| tags.iter().any(|tag| own.contains(tag)))
        };
        filters
            .spaces
            .as_ref()
            .is_none_or(|spaces| spaces.iter().any(in_space))
            && filters.tags.as_ref().is_none_or(has)
            && filters.not_tags.as_ref().is_none_or(|tags| !has(tags))
    }
}

impl Homeserver {
    /// What `filters` need beside the facts of single rooms.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn belongings(
        &self,
        context: &Context<'_>,
        filters: &[&Filters],
    ) -> Result<Belongings, Error> {
        let mut belongings = Belongings::default();
        let spaces: BTreeSet<_> = ordered::set(
            filters
                .iter()
                .filter_map(|filters| filters.spaces.as_ref())
                .flatten(),
        );
        for space in spaces {
            let children = self.listed_children(context, space).await?;
            belongings.children.insert(space.clone(), children);
        }
        let names_tags = |filters: &&Filters| filters.tags.is_some() || filters.not_tags.is_some();
        if filters.iter().any(names_tags) {
            let all = self.all_account_data(context.viewer.user_id).await?;
            let tagged = all.into_iter().filter_map(|(room_id, data)| {
                let (_, content) = data.into_iter().find(|(kind, _)| kind == "m.tag")?;
                Some((room_id?, tags_of(&content)))
            });
            belongings.tags.extend(tagged);
        }
        Ok(belongings)
    }

    /// The rooms that a space names as its children, if the user is in it.
    async fn listed_children(
        &self,
        context: &Context<'_>,
        space: &RoomId,
    ) -> Result<BTreeSet<OwnedRoomId>, Error> {
        let is_in = self
            .user_membership(context.viewer.user_id, space)
            .is_some_and(|entry| entry.membership == "join");
        let Some(room) = self.room(space).await?.filter(|_| is_in) else {
            return Ok(BTreeSet::new());
        };
        let children = self
            .tree_of_type(&room.snapshot().record.state, CHILD)
            .await?
            .into_iter()
            .map(|(_, event_id)| event_id);
        let children = self.stored_events(&children.collect::<Vec<_>>()).await?;
        let children = children.iter().filter(|event| {
            event
                .content()
                .get("via")
                .and_then(Value::as_array)
                .is_some_and(|via| !via.is_empty())
        });
        let children = children.filter_map(|event| RoomId::parse(event.state_key()?).ok());
        Ok(ordered::set(children))
    }

    /// Whether a room is in a list.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn is_listed(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
        filters: &Filters,
        belongings: &Belongings,
    ) -> Result<bool, Error> {
        let is_invite = membership.membership == "invite";
        let is_direct = context.refusals.is_direct(room_id);
        let by_membership = filters.is_invite.is_none_or(|wanted| wanted == is_invite)
            && filters.is_dm.is_none_or(|wanted| wanted == is_direct)
            && belongings.allows(filters, room_id);
        if !by_membership || !filters.needs_facts() {
            return Ok(by_membership);
        }
        let facts = self.facts(context, room_id, membership).await?;
        Ok(filters.allows_facts(&facts))
    }

    async fn facts(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
    ) -> Result<Arc<Facts>, Error> {
        let room = match membership.membership.as_str() {
            "invite" | "knock" => None,
            _ => self.room(room_id).await?,
        };
        let (user_id, source) = match &room {
            Some(room) => (None, room.snapshot().record.state.clone()),
            None => (
                Some(context.viewer.user_id.to_owned()),
                membership.event_id.to_string(),
            ),
        };
        let key = (user_id, room_id.to_owned());
        if let Some((_, facts)) = self
            .sliding
            .facts
            .kept()
            .get(&key)
            .filter(|(known, _)| *known == source)
        {
            return Ok(facts.clone());
        }
        let facts = Arc::new(match room {
            Some(room) => {
                let state = self.view(&room.snapshot(), &[NAME, CREATE, ENCRYPTION]).await?;
                Facts {
                    name: state.text(NAME, "name").map(str::to_owned),
                    kind: state.text(CREATE, "type").map(str::to_owned),
                    encrypted: state.get(ENCRYPTION.0, ENCRYPTION.1).is_some(),
                }
            }
            None => stripped_facts(&self.invite_state(context.viewer.user_id, room_id).await?),
        });
        let mut kept = self.sliding.facts.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, (source, facts.clone()));
        Ok(facts)
    }
}

/// What stripped state tells.
fn stripped_facts(state: &[JsonObject]) -> Facts {
    let mut facts = Facts::default();
    for event in state {
        let text = |field: &str| event.get("content")?.get(field)?.as_str().map(str::to_owned);
        match event.get("type").and_then(Value::as_str) {
            Some("m.room.name") => facts.name = text("name"),
            Some("m.room.create") => facts.kind = text("type"),
            Some("m.room.encryption") => facts.encrypted = true,
            _ => (),
        }
    }
    facts
}

fn tags_of(content: &JsonObject) -> BTreeSet<String> {
    let tags = content.get("tags").and_then(Value::as_object);
    ordered::set(tags.into_iter().flat_map(JsonObject::keys).cloned())
}
