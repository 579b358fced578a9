//! The answer to a search: the page of events that the user may see, with what was said around them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_rooms::{client_event::ClientEvent, ordered};
use ruma_common::{OwnedRoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use super::words::Field;
use super::{
    matching::{Found, Hit},
    merging::Merging,
    words::{Words, text_of},
};
use crate::{
    Error, Homeserver, JsonObject,
    ordered::object,
    rooms::{client_event::Viewer, event::StoredEvent, timeline::TimelineEvent, view::member},
    sync::EventFilter,
};

/// The number of results if the filter does not say.
const DEFAULT_LIMIT: u64 = 10;
/// The greatest number of results, whatever the filter says.
const MAX_LIMIT: u64 = 100;
/// The number of events before and after a result if the request does not say.
const DEFAULT_CONTEXT: usize = 5;
/// The greatest number of them.
const MAX_CONTEXT: usize = 20;
/// How many of the events found are read at once.
const PAGE: usize = 50;
/// How many of them are read for one page of results.
const MAX_READ: usize = 2_000;

/// What to look for, as the spec has it.
#[derive(Clone, Debug, Deserialize)]
pub struct SearchRequest {
    /// The words, all of which an event must have.
    pub search_term: String,
    /// Where to look; by default everywhere.
    pub keys: Option<Vec<Field>>,
    /// Which events may be found.
    #[serde(default)]
    pub filter: EventFilter,
    /// Which come first.
    #[serde(default)]
    pub order_by: SearchOrder,
    /// What is wanted of what was said around a result, if anything.
    pub event_context: Option<ContextRequest>,
    /// Whether the state of the rooms is wanted.
    #[serde(default)]
    pub include_state: bool,
    /// How results are grouped.
    #[serde(default)]
    pub groupings: Groupings,
}

/// Which results come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchOrder {
    /// Those that fit best.
    #[default]
    Rank,
    /// The newest.
    Recent,
}

/// What is wanted of what was said around a result.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContextRequest {
    /// How many events before it.
    pub before_limit: Option<usize>,
    /// How many after it.
    pub after_limit: Option<usize>,
    /// Whether to tell how those who sent the events were called.
    pub include_profile: bool,
}

/// How results are grouped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Groupings {
    /// By what.
    pub group_by: Vec<Grouping>,
}

/// By what results are grouped.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Grouping {
    /// The key.
    pub key: GroupKey,
}

/// By what results are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKey {
    /// Their room.
    RoomId,
    /// Their sender.
    Sender,
}

/// What was found, as the spec has it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchResults {
    /// About how many events were found.
    pub count: usize,
    /// The words looked for.
    pub highlights: Vec<String>,
    /// The results.
    pub results: Vec<JsonObject>,
    /// The results by group, if grouping was asked for.
    #[serde(skip_serializing_if = "JsonObject::is_empty")]
    pub groups: JsonObject,
    /// The state of the rooms of the results, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<BTreeMap<OwnedRoomId, Vec<ClientEvent>>>,
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// A result: how well it fits, and the event.
type Ranked = (f64, Arc<StoredEvent>);

/// What was found, in the order asked for.
enum Sorted<'a> {
    Ranked(std::vec::IntoIter<(f64, Hit)>),
    Newest(Merging<'a>),
}

impl Sorted<'_> {
    /// The next `count` events, each with its rank; fewer at the end.
    async fn take(&mut self, found: &Found, count: usize) -> Result<Vec<(f64, Hit)>, Error> {
        match self {
            Self::Ranked(hits) => Ok(hits.take(count).collect()),
            Self::Newest(hits) => {
                let hits = hits.take(count).await?.into_iter();
                Ok(hits.map(|hit| (found.rank(&hit), hit)).collect())
            }
        }
    }
}

/// Where a page of results begins: after so many of what was found up to a place in the timeline. What comes in
/// meanwhile does not shift the pages.
#[derive(Clone, Copy, Debug)]
struct Batch {
    skipped: usize,
    upto: i64,
}

impl Homeserver {
    /// Searches the rooms that `viewer` is or was in. `batch` is what an earlier answer said to go on from.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if `batch` is none of ours.
    pub async fn search(
        &self,
        viewer: Viewer<'_>,
        request: &SearchRequest,
        batch: Option<&str>,
    ) -> Result<SearchResults, Error> {
        let mut batch = match batch {
            Some(batch) => Batch::parse(batch)?,
            None => Batch {
                skipped: 0,
                upto: i64::try_from(self.log.current()).unwrap_or(i64::MAX),
            },
        };
        let rooms = self.searched_rooms(viewer.user_id, &request.filter).await?;
        let mut found = self.matching(&rooms, &request.search_term).await?;
        found.hits.retain(|hit| hit.order <= batch.upto);
        let hits = std::mem::take(&mut found.hits);
        let count = hits.len();
        let mut hits = match request.order_by {
            SearchOrder::Rank => Sorted::Ranked(found.ranked(hits).into_iter()),
            SearchOrder::Recent => Sorted::Newest(Merging::new(self, &rooms, hits)),
        };
        hits.take(&found, batch.skipped.min(count)).await?;
        let (results, read) = self.page(viewer, request, &found, &rooms, hits).await?;
        batch.skipped += read;
        let next_batch = (batch.skipped < count).then(|| batch.to_string());
        Ok(SearchResults {
            // Where all were looked at on one page, those that are not shown are known.
            count: match (&next_batch, batch.skipped == read) {
                (None, true) => results.len(),
                _ => count,
            },
            results: self.rendered_results(viewer, request, &results).await?,
            groups: groups(&request.groupings, &results),
            state: self.states(viewer, request, &results).await?,
            highlights: found.terms,
            next_batch,
        })
    }

    /// The rooms in which the user may see anything, and that the filter lets through. Where it names rooms, also
    /// those that they have replaced: clients show them as one, and Synapse does the same.
    async fn searched_rooms(
        &self,
        user_id: &UserId,
        filter: &EventFilter,
    ) -> Result<Vec<OwnedRoomId>, Error> {
        let rooms = self.memberships(user_id).into_iter();
        let rooms = rooms.filter(|(_, entry)| entry.membership == "join" || entry.joined_at.is_some());
        let rooms = rooms.map(|(room_id, _)| room_id);
        let mut rooms: BTreeSet<_> = ordered::set(rooms.filter(|room_id| filter.allows_room(room_id)));
        if filter.rooms.is_some() {
            for room_id in rooms.clone() {
                rooms.extend(self.replaced_rooms(&room_id).await?);
            }
            rooms.retain(|room_id| self.has_joined(user_id, room_id) && !filter.not_rooms.contains(room_id));
        }
        Ok(rooms.into_iter().collect())
    }

    /// The first of `hits` that the user may see, and how many were looked at for them.
    async fn page(
        &self,
        viewer: Viewer<'_>,
        request: &SearchRequest,
        found: &Found,
        rooms: &[OwnedRoomId],
        mut hits: Sorted<'_>,
    ) -> Result<(Vec<Ranked>, usize), Error> {
        let limit = request.filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
        let (mut results, mut read) = (Vec::new(), 0);
        while read < MAX_READ {
            let hits = hits.take(found, PAGE).await?;
            if hits.is_empty() {
                break;
            }
            let places: Vec<_> = hits.iter().filter_map(|(_, hit)| hit.place(rooms)).collect();
            let events = self.events_at(&places).await?;
            let shown = self.shown_hits(viewer, request, found, events).await?;
            for (rank, hit) in &hits {
                if results.len() == limit {
                    return Ok((results, read));
                }
                read += 1;
                let event = hit.among(rooms, &shown);
                results.extend(event.map(|event| (*rank, event.clone())));
            }
        }
        Ok((results, read))
    }

    /// Those of `events` that the request asks for and the user may see.
    async fn shown_hits(
        &self,
        viewer: Viewer<'_>,
        request: &SearchRequest,
        found: &Found,
        events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut by_room = BTreeMap::<OwnedRoomId, Vec<_>>::new();
        for event in events
            .into_iter()
            .filter(|event| request.allows(event, &found.terms) && self.erased_for(event, viewer).is_none())
        {
            by_room.entry(event.room_id().to_owned()).or_default().push(event);
        }
        let mut shown = Vec::new();
        for events in by_room.into_values() {
            let events = self.visible_events(viewer.user_id, events).await?;
            shown.extend(self.related(viewer.user_id, events, &request.filter).await?);
        }
        Ok(shown)
    }

    async fn rendered_results(
        &self,
        viewer: Viewer<'_>,
        request: &SearchRequest,
        results: &[Ranked],
    ) -> Result<Vec<JsonObject>, Error> {
        let events: Vec<_> = results.iter().map(|(_, event)| event.clone()).collect();
        let shown = self.bundled_events(&events, viewer).await?;
        let mut rendered = Vec::with_capacity(results.len());
        for ((rank, event), shown) in results.iter().zip(shown) {
            let mut result = JsonObject::new();
            result.insert("rank".into(), json!(rank));
            result.insert("result".into(), shown.into_object().into());
            if let Some(wanted) = &request.event_context {
                result.insert(
                    "context".into(),
                    self.search_context(viewer, event, wanted).await?,
                );
            }
            rendered.push(result);
        }
        Ok(rendered)
    }

    /// What was said around `event`.
    async fn search_context(
        &self,
        viewer: Viewer<'_>,
        event: &Arc<StoredEvent>,
        wanted: &ContextRequest,
    ) -> Result<Value, Error> {
        let limit = |wanted: Option<usize>| wanted.unwrap_or(DEFAULT_CONTEXT).min(MAX_CONTEXT);
        let (before, after) = (limit(wanted.before_limit), limit(wanted.after_limit));
        let around = self.around(event, before, after).await?;
        let before = self.seen(viewer, around.older).await?;
        let after = self.seen(viewer, around.newer).await?;
        let mut context = json!({
            "start": around.start.to_string(),
            "end": around.end.to_string(),
            "events_before": self.bundled_events(&before, viewer).await?,
            "events_after": self.bundled_events(&after, viewer).await?,
        });
        if wanted.include_profile {
            let senders = before
                .iter()
                .chain(&after)
                .chain([event])
                .map(|event| event.sender());
            context["profile_info"] = self.profiles_at(viewer, event, senders.collect()).await?;
        }
        Ok(context)
    }

    async fn seen(
        &self,
        viewer: Viewer<'_>,
        events: Vec<TimelineEvent>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let events = events.into_iter().map(|(_, event)| event).collect();
        self.visible_events(viewer.user_id, events).await
    }

    /// How `users` were called when `event` happened, but for those who are erased to the viewer.
    async fn profiles_at(
        &self,
        viewer: Viewer<'_>,
        event: &StoredEvent,
        users: BTreeSet<&UserId>,
    ) -> Result<Value, Error> {
        let Some(root) = &event.decision.state_before else {
            return Ok(json!({}));
        };
        let keys: Vec<_> = users.iter().map(|user| member(user)).collect();
        let members = self.view_at(root, &keys).await?;
        let mut profiles = JsonObject::new();
        for user in users {
            let (kind, key) = member(user);
            let own = members.get(kind, key);
            let own = own.filter(|own| self.erased_for(own, viewer).is_none());
            let field = |name: &str| own?.content_text(name);
            let named = [
                ("displayname", field("displayname")),
                ("avatar_url", field("avatar_url")),
            ];
            let known = named
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
            profiles.insert(user.to_string(), Value::Object(object(known)));
        }
        Ok(Value::Object(profiles))
    }

    /// The state of the rooms of `results`: now, or when the user left.
    async fn states(
        &self,
        viewer: Viewer<'_>,
        request: &SearchRequest,
        results: &[Ranked],
    ) -> Result<Option<BTreeMap<OwnedRoomId, Vec<ClientEvent>>>, Error> {
        if !request.include_state {
            return Ok(None);
        }
        let rooms: BTreeSet<_> = ordered::set(results.iter().map(|(_, event)| event.room_id()));
        let mut states = BTreeMap::new();
        for room_id in rooms {
            if let Some(root) = self.last_state(viewer.user_id, room_id).await? {
                let state = self.whole_state(&root, |_| true).await?;
                states.insert(room_id.to_owned(), self.client_events(&state, viewer).await?);
            }
        }
        Ok(Some(states))
    }
}

impl SearchRequest {
    /// Whether the request asks for `event`. That it has the words is looked at again: the index is behind it.
    fn allows(&self, event: &StoredEvent, terms: &[String]) -> bool {
        let Some((field, text)) = text_of(event) else {
            return false;
        };
        let words = Words::of(text);
        self.keys.as_ref().is_none_or(|keys| keys.contains(&field))
            && self
                .filter
                .allows(event.kind(), event.sender().as_str(), event.content())
            && terms.iter().all(|term| words.counts.contains_key(term))
    }
}

impl Batch {
    fn parse(token: &str) -> Result<Self, Error> {
        let parsed = token.split_once('_').and_then(|(skipped, upto)| {
            Some(Self {
                skipped: skipped.parse().ok()?,
                upto: upto.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| Error::InvalidParam(format!("{token:?} is no token of a search")))
    }
}

impl std::fmt::Display for Batch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}_{}", self.skipped, self.upto)
    }
}

/// The results by each of the groupings.
fn groups(groupings: &Groupings, results: &[Ranked]) -> JsonObject {
    let mut groups = JsonObject::new();
    for Grouping { key } in &groupings.group_by {
        let mut members = BTreeMap::<&str, Vec<&str>>::new();
        let mut order = Vec::new();
        for (_, event) in results {
            let name = key.of(event);
            let ids = members.entry(name).or_default();
            if ids.is_empty() {
                order.push(name);
            }
            ids.push(event.event_id.as_str());
        }
        let grouped = order.iter().enumerate().map(|(place, name)| {
            let results = members.get(name).cloned().unwrap_or_default();
            ((*name).to_owned(), json!({"order": place, "results": results}))
        });
        groups.insert(key.name().into(), Value::Object(object(grouped)));
    }
    groups
}

impl GroupKey {
    fn name(self) -> &'static str {
        match self {
            Self::RoomId => "room_id",
            Self::Sender => "sender",
        }
    }

    /// The group of `event`.
    fn of(self, event: &StoredEvent) -> &str {
        match self {
            Self::RoomId => event.room_id().as_str(),
            Self::Sender => event.sender().as_str(),
        }
    }
}
