//! Sliding sync (MSC4186): `/sync` for clients that look at a part of their rooms.
//!
//! The client names lists of rooms, of which it sees the first few, and single rooms. What it has been told of
//! which room is remembered by [`connection`]; everything else is worked out from the log, as for `/sync`.
//! Of a request only the subscriptions to single rooms are remembered, because matrix-js-sdk says each of them once, and
//! in `unsubscribe_rooms` when it ends. Who says all of them in each request, as MSC4186 has it, is told more
//! than asked for of a room that is no longer named.

mod connection;
mod extensions;
mod facts;
mod left;
mod recency;
pub mod request;
pub mod response;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use futures::future::{Either, FutureExt, select, try_join_all};
use ruma_common::{OwnedRoomId, RoomId};

use self::{
    connection::{ConnectionId, Connections, Known, Position, Sent},
    extensions::Windows,
    facts::FactCache,
    recency::Recency,
    request::{List, RoomConfig},
    response::{ListCount, RoomData},
    room::Asked,
};
pub use self::{request::SlidingRequest, response::SlidingResponse};
use super::{Context, MAX_WAIT, SyncRequest, changes::Changes};
use crate::{
    Error, Homeserver, accounts::Session, rooms::client_event::Viewer, rooms::memberships::UserMembership,
};

/// How many rooms are looked at side by side.
const AT_ONCE: usize = 64;

/// What is kept in memory of sliding sync.
#[derive(Default)]
pub(crate) struct Sliding {
    connections: Connections,
    facts: FactCache,
    recency: Recency,
}

/// One attempt at an answer.
struct Turn<'a> {
    context: &'a Context<'a>,
    request: &'a SlidingRequest,
    /// What the client knows.
    known: &'a Known,
}

/// A room of the user, with its bump stamp.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    room_id: &'a OwnedRoomId,
    membership: &'a UserMembership,
    bump_stamp: u64,
}

/// Which rooms are sent, and with what.
#[derive(Default)]
struct Wanted<'a> {
    counts: BTreeMap<String, ListCount>,
    lists: BTreeMap<String, BTreeSet<OwnedRoomId>>,
    subscribed: BTreeSet<OwnedRoomId>,
    rooms: BTreeMap<&'a RoomId, (Candidate<'a>, RoomConfig)>,
}

/// The log position that a `pos` stands for.
pub fn position_of_pos(pos: &str) -> Option<u64> {
    let position: Position = pos.parse().ok()?;
    Some(position.token.position)
}

impl Homeserver {
    /// What is new to the client of `session`. Waits up to the request's timeout, but at most 25 s, until there is
    /// something.
    ///
    /// # Errors
    /// [`Error::UnknownPos`] if the client has to begin anew, [`Error::InvalidParam`] if the request is wrong.
    pub async fn sliding_sync(
        &self,
        session: &Session,
        mut request: SlidingRequest,
    ) -> Result<SlidingResponse, Error> {
        request.check()?;
        let (user_id, device_id) = (&session.user_id, &session.device_id);
        let id = ConnectionId {
            user_id: user_id.clone(),
            device_id: device_id.clone(),
            name: request.conn_id.clone().unwrap_or_default(),
        };
        let position: Option<Position> = request.pos.as_deref().map(str::parse).transpose()?;
        let known = match position {
            Some(position) => self.known_at(&id, position).await?,
            None => Arc::default(),
        };
        request.keep_subscriptions(&known.subscriptions)?;
        self.note_sync(user_id, device_id, request.presence, request.timeout);
        self.acknowledge((user_id, device_id), &request.extensions.to_device)
            .await?;
        let viewer = Viewer {
            user_id,
            device_id: Some(device_id),
        };
        let base = SyncRequest::default();
        let mut has_waited = false;
        let mut timeout = self.seams.clock.sleep(request.timeout.min(MAX_WAIT)).fuse();
        loop {
            let passing = select(self.typing.listen(), self.presence.listen());
            let changed = select(self.log.listen(), passing);
            // What is stored by now waits for its answers; what comes while it does is for the next answer.
            let to = self.present(user_id);
            self.answers.given(user_id, device_id, has_waited).await;
            let from = position.map(|position| position.token);
            let context = self.context(viewer, &base, from, to).await?;
            if context.whole && position.is_some() {
                return Err(Error::UnknownPos);
            }
            let turn = Turn {
                context: &context,
                request: &request,
                known: &known,
            };
            let (mut response, next) = self.sliding_answer(&turn).await?;
            let at_once = position.is_none() || request.timeout.is_zero() || !response.is_empty();
            if at_once || matches!(select(changed, &mut timeout).await, Either::Right(_)) {
                response.pos = self.position(&id, position, &known, next, to).await?.to_string();
                response.txn_id = request.txn_id;
                return Ok(response);
            }
            has_waited = true;
        }
    }

    /// Where the client goes on: what it knows is stored only if that has changed.
    async fn position(
        &self,
        id: &ConnectionId,
        position: Option<Position>,
        known: &Known,
        next: Known,
        to: super::SyncToken,
    ) -> Result<Position, Error> {
        let base = position.map(|position| position.generation);
        let generation = match base {
            Some(generation) if next == *known => generation,
            base => self.keep_known(id, base, next).await?,
        };
        Ok(Position {
            generation,
            token: to,
        })
    }

    /// The answer of this moment, and what the client will know when it has it.
    async fn sliding_answer(&self, turn: &Turn<'_>) -> Result<(SlidingResponse, Known), Error> {
        let context = turn.context;
        let memberships = self.memberships(context.viewer.user_id);
        let changes = match context.from {
            Some(from) => {
                self.changes(context.viewer, &memberships, from.position, context.to.position)
                    .await?
            }
            None => Changes::default(),
        };
        let memberships = self.with_forgotten(context.viewer.user_id, memberships);
        let candidates = self.present_rooms(turn, &memberships).await?;
        let wanted = self.wanted(turn, &candidates).await?;
        let rooms = self.rooms_wanted(turn, &wanted, &changes).await?;
        let typed = |room_id: &RoomId| {
            let from = context.from.as_ref();
            from.is_some_and(|from| self.typing.has_changed(room_id, from))
        };
        let next = turn.known.after(turn, &wanted, &rooms, &changes, typed);
        let windows = Windows {
            lists: &wanted.lists,
            subscribed: &wanted.subscribed,
            sent: &turn.known.rooms,
            rooms: &rooms,
        };
        let extensions = self.extensions(turn, &changes, &windows).await?;
        let response = SlidingResponse {
            lists: wanted.counts,
            rooms,
            extensions,
            ..SlidingResponse::default()
        };
        Ok((response, next))
    }

    /// The user's rooms that may be told of, those in which something was said last first.
    async fn present_rooms<'m>(
        &self,
        turn: &Turn<'_>,
        memberships: &'m BTreeMap<OwnedRoomId, UserMembership>,
    ) -> Result<Vec<Candidate<'m>>, Error> {
        let context = turn.context;
        let removed_from = match context.from {
            None => self.removed_from(context, memberships).await?,
            Some(_) => BTreeSet::new(),
        };
        let mut present = Vec::new();
        for (room_id, membership) in memberships {
            let is_present = match context.membership(membership) {
                Some("join" | "knock") => true,
                Some("invite") => {
                    self.is_invite_shown(&context.refusals, room_id, &membership.event_id)
                        .await?
                }
                // What the client knows as present, or may know from another connection, it is told to have ended.
                Some("leave" | "ban") => {
                    turn.known.rooms.contains_key(room_id) || removed_from.contains(&**room_id)
                }
                _ => false,
            };
            if is_present {
                present.push((room_id, membership));
            }
        }
        let stamps = self.bump_stamps(&present, context.to.position).await?;
        let stamp = |room_id: &OwnedRoomId| stamps.get(room_id).copied().unwrap_or_default();
        let mut candidates: Vec<_> = present
            .into_iter()
            .map(|(room_id, membership)| Candidate {
                room_id,
                membership,
                bump_stamp: stamp(room_id),
            })
            .collect();
        candidates.sort_by_key(|room| (std::cmp::Reverse(room.bump_stamp), room.room_id));
        Ok(candidates)
    }

    /// Which of the rooms are in windows of lists, subscribed to, or have been left.
    async fn wanted<'m>(&self, turn: &Turn<'_>, candidates: &[Candidate<'m>]) -> Result<Wanted<'m>, Error> {
        let context = turn.context;
        let mut wanted = Wanted::default();
        let lists = turn.request.lists.values();
        let filters: Vec<_> = lists.filter_map(|list| list.filters.as_ref()).collect();
        let belongings = self.belongings(context, &filters).await?;
        let (over, going_on): (Vec<_>, Vec<_>) = candidates
            .iter()
            .copied()
            .partition(|room| is_over(context, room));
        for (name, list) in &turn.request.lists {
            let mut rooms = Vec::new();
            for room in &going_on {
                let is_listed = match &list.filters {
                    Some(filters) => {
                        self.is_listed(context, room.room_id, room.membership, filters, &belongings)
                            .await?
                    }
                    None => true,
                };
                if is_listed {
                    rooms.push(*room);
                }
            }
            wanted.add_list(name, list, &rooms);
        }
        let by_id: HashMap<_, _> = candidates.iter().map(|room| (room.room_id, *room)).collect();
        for (room_id, config) in &turn.request.room_subscriptions {
            if let Some(room) = by_id.get(room_id) {
                wanted.subscribed.insert(room_id.clone());
                wanted.add(*room, config);
            }
        }
        for room in over {
            let mut config = RoomConfig {
                timeline_limit: 10,
                ..RoomConfig::default()
            };
            turn.request
                .lists
                .values()
                .for_each(|list| config.join(&list.config));
            wanted.add(room, &config);
        }
        // Who is told of all members is told of a room when all are there.
        for room_id in self.partial.all() {
            let is_withheld = wanted.rooms.get(&*room_id).is_some_and(|(room, config)| {
                context.membership(room.membership) == Some("join") && config.wants_all_members()
            });
            if is_withheld
                && let Some(room) = self.room(&room_id).await?
                && room.snapshot().is_partial()
            {
                wanted.remove(&room_id);
            }
        }
        Ok(wanted)
    }

    /// What is new in the rooms that are sent.
    async fn rooms_wanted(
        &self,
        turn: &Turn<'_>,
        wanted: &Wanted<'_>,
        changes: &Changes,
    ) -> Result<BTreeMap<OwnedRoomId, RoomData>, Error> {
        let asked: Vec<_> = wanted
            .rooms
            .iter()
            .map(|(room_id, (room, config))| Asked {
                room_id,
                membership: room.membership,
                config,
                sent: turn.known.rooms.get(*room_id).copied(),
                changes: changes.rooms.get(*room_id),
                bump_stamp: room.bump_stamp,
            })
            .collect();
        let mut rooms = BTreeMap::new();
        for some in asked.chunks(AT_ONCE) {
            let unsent: Vec<_> = some
                .iter()
                .filter(|asked| asked.sent.is_none())
                .map(|asked| asked.room_id)
                .collect();
            self.warm_rooms(&unsent).await?;
            let told = try_join_all(some.iter().map(|asked| self.room_data(turn, *asked))).await?;
            let told = some.iter().zip(told);
            rooms.extend(told.filter_map(|(asked, data)| Some((asked.room_id.to_owned(), data?))));
        }
        Ok(rooms)
    }
}

/// Whether the user is no longer in the room.
fn is_over(context: &Context<'_>, room: &Candidate<'_>) -> bool {
    matches!(context.membership(room.membership), Some("leave" | "ban"))
}

impl<'a> Wanted<'a> {
    fn add_list(&mut self, name: &str, list: &List, rooms: &[Candidate<'a>]) {
        let window = list.window(rooms);
        for room in &window {
            self.add(**room, &list.config);
        }
        let ids = window.iter().map(|room| room.room_id.clone()).collect();
        self.lists.insert(name.to_owned(), ids);
        self.counts
            .insert(name.to_owned(), ListCount { count: rooms.len() });
    }

    fn add(&mut self, room: Candidate<'a>, config: &RoomConfig) {
        let known = self.rooms.entry(room.room_id);
        let (_, known) = known.or_insert_with(|| (room, RoomConfig::default()));
        known.join(config);
    }

    fn remove(&mut self, room_id: &RoomId) {
        self.rooms.remove(room_id);
        self.subscribed.remove(room_id);
        for list in self.lists.values_mut() {
            list.remove(room_id);
        }
    }
}

impl Known {
    /// What the client will know when it has been told of `rooms`. `typed` says in which rooms typing has changed.
    fn after(
        &self,
        turn: &Turn<'_>,
        wanted: &Wanted<'_>,
        rooms: &BTreeMap<OwnedRoomId, RoomData>,
        changes: &Changes,
        typed: impl Fn(&RoomId) -> bool,
    ) -> Self {
        let mut next = self.clone();
        next.subscriptions.clone_from(&turn.request.room_subscriptions);
        for (room_id, sent) in &mut next.rooms {
            // What has changed in a room that is not sent is left for when it is.
            let changes = changes.rooms.get(room_id);
            if !wanted.rooms.contains_key(&**room_id) && (changes.is_some() || typed(room_id)) {
                sent.upto = sent.upto.or(Some(turn.context.position()));
                sent.state |= changes.is_some_and(|changes| changes.state);
            }
        }
        for (room_id, (room, config)) in &wanted.rooms {
            let is_told = rooms.contains_key(*room_id);
            if is_over(turn.context, room) {
                next.rooms.remove(*room_id);
            } else if is_told || next.rooms.contains_key(*room_id) {
                let known = next.rooms.get(*room_id).map_or(0, |sent| sent.limit);
                let sent = Sent {
                    upto: None,
                    state: false,
                    limit: config.timeline_limit.max(known),
                    required: config.required_hash(),
                };
                next.rooms.insert((*room_id).to_owned(), sent);
            }
        }
        next
    }
}
