//! The rooms in a space, and the spaces in it. Spec: Client-Server API, section 'Spaces', and Server-Server API of the
//! same name.
//!
//! The tree is walked depth first, each room once. Nothing is kept between the pages of an answer: a token says how many
//! rooms were told, and the walk is repeated. What other servers say is remembered for a few minutes, and asked for
//! several rooms at a time; a walk stops asking after ten seconds, and then leaves out what it does not know.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::future::{join_all, select};
use hearth_rooms::ordered;
use http::Method;
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    deadline::{Late, within},
    federation::{request::RequestError, uri::path},
    rooms::{
        description::{
            CHILD, CHILDREN, CHILDREN_STATE, MAX_CHILDREN, REMEMBERED, SILENCE, Told, description, id_of,
        },
        event::StoredEvent,
        room::{Room, Snapshot},
        summary::{SPACE, Visitor},
        view::CREATE,
    },
    stored::from_slice,
};

/// The most rooms of a page, and how many there are if the client does not say.
const MAX_PAGE: usize = 50;
/// The most rooms of a space that are looked at, in all pages together.
const MAX_ROOMS: usize = 2_000;
/// The deepest that a walk goes.
const MAX_DEPTH: u64 = 20;
/// The most servers that are asked of one room.
const MAX_ASKED: usize = 3;
/// How many rooms are asked for at once.
const AT_ONCE: usize = 8;
/// How long one walk asks other servers, and how long those of one room are asked, in milliseconds.
const PATIENCE: u64 = 10_000;

/// What a client asks of a space.
#[derive(Clone, Debug, Default)]
pub struct HierarchyQuery {
    /// Whether only rooms are told that the space suggests.
    pub suggested_only: bool,
    /// The most rooms of the answer.
    pub limit: Option<u64>,
    /// How deep to go; 0 is the space itself.
    pub max_depth: Option<u64>,
    /// Where an earlier answer left off.
    pub from: Option<String>,
    /// Servers to ask if the space is not held here, best first (MSC4235).
    pub via: Vec<OwnedServerName>,
}

/// A room that a space lists.
struct Child {
    room_id: OwnedRoomId,
    via: Vec<OwnedServerName>,
}

/// A room that is still to be looked at, and how deep it lies.
struct Next {
    child: Child,
    depth: u64,
}

/// Where a walk left off, and what it was for.
#[derive(PartialEq, Eq)]
struct From {
    told: usize,
    suggested_only: bool,
    max_depth: u64,
}

impl Homeserver {
    /// A page of the rooms in a space: `{"rooms", "next_batch"}`, the space itself first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the space is not for the user to see or not known, [`Error::InvalidParam`] if `from` is
    /// malformed or of another query.
    pub async fn hierarchy(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        query: HierarchyQuery,
    ) -> Result<Value, Error> {
        let max_depth = query.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let told = From::read(&query, max_depth)?;
        let limit = query.limit.and_then(|limit| usize::try_from(limit).ok());
        let end = told.saturating_add(limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE));
        let mut walk = Walk::new(
            self,
            Visitor::User(user_id),
            query.suggested_only,
            max_depth,
            told > 0,
        );
        let mut via = query.via;
        via.extend(self.inviting_servers(user_id, room_id).await?);
        via.extend(room_id.server_name().map(ToOwned::to_owned));
        let root = Child {
            room_id: room_id.to_owned(),
            via,
        };
        let mut rooms = walk
            .rooms(root, told, end.saturating_add(1).min(MAX_ROOMS))
            .await?;
        let page = end - told;
        let more = rooms.len() > page;
        rooms.truncate(page);
        let mut answer = json!({ "rooms": rooms });
        if more {
            let next = From {
                told: end,
                suggested_only: query.suggested_only,
                max_depth,
            };
            answer["next_batch"] = next.to_string().into();
        }
        Ok(answer)
    }

    /// Answers `GET /federation/v1/hierarchy`: the room, and those of the rooms it lists that are known here.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here or not for the other server to see.
    pub async fn federation_hierarchy(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
    ) -> Result<Value, Error> {
        let visitor = Visitor::Server(origin);
        let not_found = || Error::NotFound("no such room, or none that you may see".into());
        let room = self.resident_room(room_id).await?.ok_or_else(not_found)?;
        self.check_acl(origin, &room.snapshot())
            .await
            .map_err(|_| not_found())?;
        let mut space = self.described(visitor, &room).await?.ok_or_else(not_found)?;
        let listed = self.children_of(&room, suggested_only).await?;
        space.insert(CHILDREN_STATE.into(), stripped_children(&listed));
        let (mut children, mut inaccessible) = (Vec::new(), Vec::new());
        for child in listed.iter().filter_map(child_of).take(MAX_PAGE) {
            let Some(room) = self.resident_room(&child.room_id).await? else {
                continue;
            };
            match self.described(visitor, &room).await? {
                Some(child) => children.push(child),
                None => inaccessible.push(child.room_id),
            }
        }
        Ok(json!({ "room": space, "children": children, "inaccessible_children": inaccessible }))
    }

    /// What a room that is not held here is like, as the first of `servers` says that tells of it. `None` if none does,
    /// or it is not for `visitor` to know.
    pub(crate) async fn remote_description(
        &self,
        visitor: Visitor<'_>,
        room_id: &RoomId,
        servers: &[OwnedServerName],
    ) -> Result<Option<JsonObject>, Error> {
        let told = self
            .hierarchies
            .get(room_id, &self.asked(servers), self.now(), false);
        let found = match told.flatten() {
            Some(told) => Some(from_slice(&told)?),
            // Who would not tell may have let us in since.
            None => self.ask_for_description(room_id, servers).await,
        };
        Ok(found.filter(|summary| self.may_know(visitor, room_id, summary)))
    }

    async fn ask_for_description(&self, room_id: &RoomId, servers: &[OwnedServerName]) -> Option<JsonObject> {
        let uri = path("v1/hierarchy", &[room_id.as_str()], "suggested_only=false");
        let servers = self.asked(servers);
        let until = self.now() + PATIENCE;
        for (place, server) in servers.iter().enumerate() {
            // Whoever is slow leaves time for those who come after.
            let share = until.saturating_sub(self.now()) / (servers.len() - place) as u64;
            let share = Duration::from_millis(share);
            let asking = self.request(server, Method::GET, &uri, None);
            let (room, valid) = match within(&*self.seams.clock, share, asking).await {
                Ok(Ok(answer)) => (description(room_id, answer), REMEMBERED),
                Ok(Err(RequestError::Refused {
                    status: 403 | 404, ..
                })) => (None, REMEMBERED),
                Ok(Err(error)) => {
                    tracing::debug!(%server, %room_id, %error, "a server did not describe a room");
                    (None, SILENCE)
                }
                Err(Late) => (None, SILENCE),
            };
            self.hierarchies
                .put(server, room_id, (self.now(), valid), room.as_ref());
            if room.is_some() {
                return room;
            }
        }
        None
    }

    /// Those of `servers` that are asked of one room.
    fn asked(&self, servers: &[OwnedServerName]) -> Vec<OwnedServerName> {
        let mut asked = ordered::set([self.server_name().to_owned()]);
        let others = servers.iter().filter(|server| asked.insert((*server).clone()));
        others.take(MAX_ASKED).cloned().collect()
    }

    /// The state events of a space that list rooms, in the order in which these are told; none of a room that is no
    /// space.
    async fn children_of(
        &self,
        room: &Arc<Room>,
        suggested_only: bool,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let snapshot = room.snapshot();
        if !self.is_space(&snapshot).await? {
            return Ok(Vec::new());
        }
        let listed = self.tree_of_type(&snapshot.record.state, CHILD).await?;
        let ids: Vec<_> = listed
            .into_iter()
            .map(|(_, event_id)| event_id)
            .take(MAX_CHILDREN)
            .collect();
        let mut listed = self.stored_events(&ids).await?;
        let suggested =
            |event: &StoredEvent| event.content().get("suggested").and_then(Value::as_bool) == Some(true);
        listed.retain(|event| child_of(event).is_some() && (!suggested_only || suggested(event)));
        listed.sort_by_cached_key(|event| {
            place(
                event.content_text("order"),
                event.pdu.origin_server_ts(),
                event.state_key().unwrap_or_default(),
            )
        });
        Ok(listed)
    }

    async fn is_space(&self, snapshot: &Snapshot) -> Result<bool, Error> {
        let state = self.view(snapshot, &[CREATE]).await?;
        Ok(state.text(CREATE, "type") == Some(SPACE))
    }
}

/// One walk through a space.
struct Walk<'a> {
    homeserver: &'a Homeserver,
    visitor: Visitor<'a>,
    suggested_only: bool,
    max_depth: u64,
    /// Until when other servers are asked.
    until: u64,
    /// Whether it was walked before, for the pages before this one.
    goes_on: bool,
    seen: BTreeSet<OwnedRoomId>,
    /// What spaces have said of the rooms that they list.
    told: HashMap<OwnedRoomId, JsonObject>,
}

impl<'a> Walk<'a> {
    fn new(
        homeserver: &'a Homeserver,
        visitor: Visitor<'a>,
        suggested_only: bool,
        max_depth: u64,
        goes_on: bool,
    ) -> Self {
        Self {
            homeserver,
            visitor,
            suggested_only,
            max_depth,
            until: homeserver.now() + PATIENCE,
            goes_on,
            seen: BTreeSet::new(),
            told: HashMap::new(),
        }
    }

    /// The rooms of the space `root` after the first `after`, up to `upto`.
    async fn rooms(&mut self, root: Child, after: usize, upto: usize) -> Result<Vec<JsonObject>, Error> {
        let (mut found, mut rooms) = (0, Vec::new());
        let mut next = vec![Next {
            child: root,
            depth: 0,
        }];
        let mut looked_at = 0;
        while let Some(Next { child, depth }) = next.pop() {
            looked_at += 1;
            if found >= upto || looked_at > MAX_ROOMS {
                break;
            }
            if !self.seen.insert(child.room_id.clone()) {
                continue;
            }
            let Some((room, children)) = self.visit(&child, depth).await? else {
                if depth == 0 {
                    return Err(Error::Forbidden("no such space, or none that you may see".into()));
                }
                continue;
            };
            found += 1;
            rooms.extend((found > after).then_some(room));
            if depth < self.max_depth {
                self.ask_ahead(&children).await;
                next.extend(children.into_iter().rev().map(|child| Next {
                    child,
                    depth: depth + 1,
                }));
                // Of those that were found first, the walk ends before it comes to them.
                let surplus = next.len().saturating_sub(MAX_ROOMS - looked_at);
                next.drain(..surplus);
            }
        }
        Ok(rooms)
    }

    /// What the room is like, and which rooms it lists.
    async fn visit(&mut self, child: &Child, depth: u64) -> Result<Option<(JsonObject, Vec<Child>)>, Error> {
        let homeserver = self.homeserver;
        if let Some(room) = homeserver.resident_room(&child.room_id).await? {
            let Some(mut summary) = homeserver.described(self.visitor, &room).await? else {
                return Ok(None);
            };
            let listed = homeserver.children_of(&room, self.suggested_only).await?;
            summary.insert(CHILDREN_STATE.into(), stripped_children(&listed));
            let children = listed.iter().filter_map(child_of).collect();
            return Ok(Some((summary, children)));
        }
        let found = match self.told.remove(&child.room_id) {
            Some(told) => Some(told).filter(|told| homeserver.may_know(self.visitor, &child.room_id, told)),
            // Those who can be asked were, ahead of this.
            None if depth > 0
                && self
                    .said_of(child)
                    .map_or(homeserver.now() >= self.until, |told| told.is_none()) =>
            {
                None
            }
            None => {
                homeserver
                    .remote_description(self.visitor, &child.room_id, &child.via)
                    .await?
            }
        };
        let Some(mut summary) = found else {
            return Ok(None);
        };
        let described = take_list(&mut summary, CHILDREN);
        let (summary, children) = told_by_others(summary, self.suggested_only);
        for room in described {
            let Value::Object(room) = room else { continue };
            let listed = children
                .iter()
                .find(|child| id_of(&room) == Some(child.room_id.as_str()));
            if let Some(child) = listed.filter(|child| !self.seen.contains(&child.room_id)) {
                self.told.insert(child.room_id.clone(), room);
            }
        }
        Ok(Some((summary, children)))
    }

    /// What those said of a room who can be asked, if that is remembered.
    fn said_of(&self, child: &Child) -> Option<Told> {
        let servers = self.homeserver.asked(&child.via);
        let known = &self.homeserver.hierarchies;
        known.get(&child.room_id, &servers, self.homeserver.now(), self.goes_on)
    }

    /// Asks for those of `children` that are not known here, several at once, as long as there is time.
    async fn ask_ahead(&self, children: &[Child]) {
        let homeserver = self.homeserver;
        let mut unknown = Vec::new();
        for child in children {
            let is_here = matches!(
                homeserver.resident_room(&child.room_id).await,
                Ok(Some(_)) | Err(_)
            );
            let is_known = self.told.contains_key(&child.room_id) || self.said_of(child).is_some();
            if !is_here && !is_known && !self.seen.contains(&child.room_id) {
                unknown.push(child);
            }
        }
        for some in unknown.chunks(AT_ONCE) {
            let left = self.until.saturating_sub(homeserver.now());
            if left == 0 {
                return;
            }
            let asking = some
                .iter()
                .map(|child| homeserver.ask_for_description(&child.room_id, &child.via));
            let asking = join_all(asking);
            let patience = homeserver.seams.clock.sleep(Duration::from_millis(left));
            select(pin!(asking), patience).await;
            for child in some.iter().filter(|child| self.said_of(child).is_none()) {
                for server in homeserver.asked(&child.via) {
                    let silence = (homeserver.now(), SILENCE);
                    homeserver.hierarchies.put(&server, &child.room_id, silence, None);
                }
            }
        }
    }
}

impl From {
    /// How many rooms were told before.
    fn read(query: &HierarchyQuery, max_depth: u64) -> Result<usize, Error> {
        let Some(token) = &query.from else {
            return Ok(0);
        };
        let malformed = || Error::InvalidParam("`from` is not of an answer to this query".into());
        let told: usize = token
            .split('_')
            .next()
            .and_then(|told| told.parse().ok())
            .ok_or_else(malformed)?;
        let from = Self {
            told,
            suggested_only: query.suggested_only,
            max_depth,
        };
        (from.to_string() == *token).then_some(told).ok_or_else(malformed)
    }
}

impl std::fmt::Display for From {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{}_{}_{}",
            self.told, self.suggested_only, self.max_depth
        )
    }
}

/// What another server says of a room, without what is not suggested; and which rooms it lists.
fn told_by_others(mut summary: JsonObject, suggested_only: bool) -> (JsonObject, Vec<Child>) {
    let mut listed = take_list(&mut summary, CHILDREN_STATE);
    listed.retain(|event| !suggested_only || event["content"]["suggested"] == true);
    listed.sort_by_cached_key(|event| {
        place(
            event["content"]["order"].as_str(),
            event["origin_server_ts"].as_u64().unwrap_or_default(),
            event["state_key"].as_str().unwrap_or_default(),
        )
    });
    let children = listed.iter().filter_map(|event| {
        let content = event.get("content")?.as_object()?;
        named(event.get("state_key")?.as_str()?, content)
    });
    let children = children.collect();
    summary.insert(CHILDREN_STATE.into(), listed.into());
    (summary, children)
}

/// Takes a list out of what was said of a room.
fn take_list(summary: &mut JsonObject, field: &str) -> Vec<Value> {
    match summary.remove(field) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// The room that a state event lists, if it does.
fn child_of(event: &Arc<StoredEvent>) -> Option<Child> {
    named(event.state_key()?, event.content())
}

/// The room `id`, if `content` says where to find it. Without that it is not listed.
fn named(id: &str, content: &JsonObject) -> Option<Child> {
    let via = content.get("via")?.as_array()?.iter();
    let via = via.filter_map(|server| ServerName::parse(server.as_str()?).ok());
    Some(Child {
        room_id: RoomId::parse(id).ok()?,
        via: via.take(MAX_ASKED).collect(),
    })
}

/// Where a room stands among those of its space: those with an order first.
fn place(order: Option<&str>, timestamp: u64, room_id: &str) -> (bool, String, u64, String) {
    let is_valid = |order: &&str| {
        (1..=50).contains(&order.len()) && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
    };
    let order = order.filter(is_valid);
    (
        order.is_none(),
        order.unwrap_or_default().to_owned(),
        timestamp,
        room_id.to_owned(),
    )
}

fn stripped_children(listed: &[Arc<StoredEvent>]) -> Value {
    let events = listed.iter().map(|event| {
        json!({
            "type": CHILD, "state_key": event.state_key(), "sender": event.sender(), "content": event.content(),
            "origin_server_ts": event.pdu.origin_server_ts(),
        })
    });
    events.collect::<Vec<_>>().into()
}
