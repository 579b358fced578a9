//! Fetching history, both sides. Spec: Server-Server API, section 'Backfilling and retrieving missing events'.

use std::{
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use hearth_rooms::{
    Pdu,
    auth_check::needed_events,
    dag::{ancestors, topological_order},
    ordered,
};
use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    deadline::{Late, within},
    federation::{
        fetch_state::{Held, Purpose},
        received::take_array,
        uri::{escaped, path},
    },
    rooms::{
        admit::Outcome,
        change::Change,
        event::{Decision, StoredEvent},
        room::Room,
        tree::empty_root,
        view::CREATE,
    },
};

/// The most events that are given or asked for at once.
const MAX_EVENTS: usize = 100;
/// The most events from which history is asked for at once.
const MAX_FROM: usize = 20;
/// The most events that are looked at for one page.
const MAX_SEEN: usize = 10_000;
/// For how many events of one page the state is asked for, or what allows them.
const MAX_EDGES: usize = 20;
/// The most servers that are asked for one page of history: nobody fills a gap in the room meanwhile.
const MAX_SOURCES: usize = 5;
/// The most servers that are asked for one state, or for the events of one gap.
pub(crate) const MAX_HELPERS: usize = 3;
/// How long one server may take to give a page, with the states that it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is missing at one place of a timeline.
pub(crate) struct Gap {
    /// The events that are missing and that known ones follow.
    pub(crate) from: Vec<OwnedEventId>,
    /// The place before which they belong; `None` is before all that is there.
    pub(crate) order: Option<i64>,
    /// How many places are free there.
    pub(crate) places: usize,
    /// What lies deeper in the past does not belong there.
    pub(crate) least_depth: u64,
}

impl Homeserver {
    /// Answers `GET /backfill`: at most `limit` events, those of `from` and before them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here, [`Error::Forbidden`] if the server is not in it.
    pub async fn backfill(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Value, Error> {
        self.shared_room(origin, room_id).await?;
        let from: Vec<_> = from.iter().take(MAX_EVENTS).cloned().collect();
        let events = self.walk_back(room_id, &from, limit.min(MAX_EVENTS)).await?;
        Ok(json!({
            "origin": self.server_name(),
            "origin_server_ts": self.now(),
            "pdus": self.as_seen_by(origin, true, &events).await?,
        }))
    }

    /// Those of `from` that are stored and what came before them, the deepest first.
    async fn walk_back(
        &self,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut seen: BTreeSet<_> = ordered::set(from.iter().cloned());
        let mut open = BinaryHeap::new();
        let mut next = self.stored_events(from).await?;
        let mut found = Vec::new();
        loop {
            for event in next.drain(..).filter(|event| event.room_id() == room_id) {
                open.push((event.depth(), event.origin_server_ts(), event.event_id.clone()));
            }
            let enough = found.len() >= limit || seen.len() >= MAX_SEEN;
            let Some((_, _, event_id)) = open.pop().filter(|_| !enough) else {
                return Ok(found);
            };
            let Some(event) = self.stored_event(&event_id).await? else {
                continue;
            };
            let prev: Vec<_> = event
                .pdu
                .prev_events()
                .iter()
                .filter(|id| seen.insert((*id).clone()))
                .cloned()
                .collect();
            next = self.stored_events(&prev).await?;
            // What was rejected is not passed on, but what came before it is.
            found.extend(Some(event).filter(|event| !event.decision.rejected));
        }
    }

    /// Fetches history before the oldest event held of a room, about `limit` events, and puts it into the
    /// timeline before what is there. Returns how many events were added: 0 when there is no more, or nobody
    /// to ask answers.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn fetch_history(&self, room_id: &RoomId, limit: usize) -> Result<usize, Error> {
        let Some(room) = self.resident_room(room_id).await? else {
            return Ok(0);
        };
        let _inbound = room.inbound.lock().await;
        let oldest = self.oldest_events(room_id).await?;
        let missing = self.missing_of(before(&oldest)).await?;
        if missing.is_empty() {
            return Ok(0);
        }
        let likely = self.likely_sources(&room, &oldest, &missing).await?;
        let servers = self.helpers(&room, &likely, 0, MAX_SOURCES).await?;
        let gap = Gap {
            from: missing,
            order: None,
            places: usize::MAX,
            least_depth: 0,
        };
        self.fetch_before(&room, &gap, &servers, limit.min(MAX_EVENTS))
            .await
    }

    /// Asks one of `servers` after another for about `limit` events of `gap`, until one gives some that are new, and
    /// puts them there. Returns how many.
    pub(crate) async fn fetch_before(
        &self,
        room: &Arc<Room>,
        gap: &Gap,
        servers: &[OwnedServerName],
        limit: usize,
    ) -> Result<usize, Error> {
        let mut unconnected = None;
        for server in servers {
            let filling = async {
                let page = self.ask_for_history(server, room, &gap.from, limit).await?;
                let wanted = ancestors(&gap.from, page.clone());
                if wanted.is_empty() {
                    let given = Some((server, page)).filter(|(_, page)| !page.is_empty());
                    unconnected = unconnected.take().or(given);
                    return Ok(0);
                }
                self.place_old(server, room, gap, wanted).await
            };
            let added = within(&*self.seams.clock, PATIENCE, filling).await;
            match added.unwrap_or_else(|Late| Err(Error::Unreachable("it took too long".into()))) {
                Ok(0) => (),
                Ok(added) => return Ok(added),
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => tracing::info!(%server, %error, "a server gave no history"),
            }
        }
        // What a server refuses it does not pass on, but what came before that: nothing connects the two.
        let Some((server, page)) = unconnected else {
            return Ok(0);
        };
        let filling = self.place_old(server, room, gap, page);
        within(&*self.seams.clock, PATIENCE, filling)
            .await
            .unwrap_or(Ok(0))
    }

    /// Whether the timeline of a room begins with events before which others came that are not held here.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn lacks_history(&self, room_id: &RoomId) -> Result<bool, Error> {
        let oldest = self.oldest_events(room_id).await?;
        Ok(!self.missing_of(before(&oldest)).await?.is_empty())
    }

    /// The first events of a room's timeline, as many as are looked at to see where history goes on.
    async fn oldest_events(&self, room_id: &RoomId) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let oldest = self.timeline_after(room_id, i64::MIN, MAX_EVENTS).await?;
        Ok(oldest.into_iter().map(|(_, event)| event).collect())
    }

    /// Those of `open` that are not in the timeline: where history goes on. Events that are known to be refused are
    /// not missing, but what came before them may be.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn missing_of(&self, mut open: Vec<OwnedEventId>) -> Result<Vec<OwnedEventId>, Error> {
        let mut missing: BTreeSet<_> = ordered::set(open.iter().cloned());
        let mut refused = BTreeSet::new();
        while !open.is_empty() {
            let known = self.stored_events(&open).await?;
            open.clear();
            for event in known {
                if event.is_refused() && refused.len() < MAX_EVENTS && refused.insert(event.event_id.clone())
                {
                    let before = event.pdu.prev_events().iter().filter(|id| !refused.contains(*id));
                    open.extend(before.cloned());
                }
                if event.decision.order.is_some() || event.is_refused() {
                    missing.remove(&event.event_id);
                }
            }
            missing.extend(open.iter().cloned());
        }
        Ok(missing.into_iter().take(MAX_FROM).collect())
    }

    /// The servers that are likely to hold the events `missing`: those of who sent what of `oldest` follows them and,
    /// second, the one that the room began with, because all who follow may have joined too late.
    async fn likely_sources(
        &self,
        room: &Arc<Room>,
        oldest: &[Arc<StoredEvent>],
        missing: &[OwnedEventId],
    ) -> Result<Vec<OwnedServerName>, Error> {
        let create = self.view(&room.snapshot(), &[CREATE]).await?;
        let follows =
            |event: &&Arc<StoredEvent>| event.pdu.prev_events().iter().any(|id| missing.contains(id));
        let mut events: Vec<_> = oldest.iter().filter(follows).collect();
        let second = events.len().min(1);
        events.splice(second..second, create.get(CREATE.0, CREATE.1));
        let servers = events.iter().map(|event| event.sender().server_name().to_owned());
        Ok(servers.collect())
    }

    /// Asks for the events `from` and those before them.
    async fn ask_for_history(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Pdu>, Error> {
        let from = from.iter().map(|id| format!("v={}", escaped(id.as_str())));
        let query = [from.collect::<Vec<_>>().join("&"), format!("limit={limit}")].join("&");
        let uri = path("v1/backfill", &[room.room_id.as_str()], &query);
        let mut answer = self.request(server, Method::GET, &uri, None).await?;
        let values = take_array(&mut answer, "pdus", MAX_EVENTS);
        let version = room.snapshot().version();
        Ok(self.verified_all(version, &room.room_id, values).await)
    }

    /// Puts those of `pdus` into the timeline that fit into `gap`. They are what `server` gives of it. Returns how many
    /// were new to the timeline.
    async fn place_old(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        gap: &Gap,
        pdus: Vec<Pdu>,
    ) -> Result<usize, Error> {
        let mut pdus = topological_order(pdus);
        pdus.retain(|pdu| pdu.depth() >= gap.least_depth);
        pdus.drain(..pdus.len().saturating_sub(gap.places));
        let edges = self.states_at_edges(server, room, &pdus).await?;
        let mut change = self.change(room).await;
        let mut order = gap.order.unwrap_or(change.snapshot.record.oldest);
        let next = (&*room.room_id, order.saturating_sub(1));
        if !self.events_at(&[next]).await?.is_empty() {
            // Somebody fills the gap whose commit was not waited for any more.
            return Ok(0);
        }
        let (mut shown, mut redactions) = (Vec::new(), Vec::new());
        let past = ancestors(&gap.from, pdus.clone());
        for pdu in pdus {
            let event_id = pdu.event_id().to_owned();
            let is_redaction = pdu.redacts().is_some();
            match self.keep_old(&mut change, pdu, edges.get(&event_id)).await? {
                Some(true) => {
                    redactions.extend(is_redaction.then(|| event_id.clone()));
                    shown.push(event_id);
                }
                // It will be judged when all members are there; until then history begins after it.
                None if change.snapshot.is_partial() => shown.clear(),
                Some(false) | None => (),
            }
        }
        // What came before the loss of a power is seen when all is there.
        for event_id in &redactions {
            let known = change.known_events(std::slice::from_ref(event_id)).await?;
            if let [event] = &known[..] {
                let event = change.redacting(StoredEvent::clone(event)).await?;
                change.keep(event);
            }
        }
        for event_id in shown.iter().rev() {
            order -= 1;
            change.place(event_id, order);
        }
        if gap.order.is_none() {
            change.snapshot.record.oldest = order;
        }
        let past = past
            .iter()
            .filter(|pdu| shown.iter().any(|id| id == pdu.event_id()));
        let followed = past.flat_map(|pdu| pdu.prev_events().iter().cloned());
        change.forget_followed(&followed.collect()).await?;
        change.commit().await?;
        Ok(shown.len())
    }

    /// Stores an old event with what is decided about it. `Some(true)` if it belongs into the timeline, `Some(false)`
    /// if it is known and judged already or is rejected, `None` if it cannot be judged because its auth events or the
    /// state before it are not known. As long as the room's members are on their way, it is judged by its auth
    /// events alone: what the room has decided since does not count. A state that lacks members is not noted with it, as
    /// nobody looks at it again when they are there.
    async fn keep_old(
        &self,
        change: &mut Change<'_>,
        pdu: Pdu,
        edge: Option<&String>,
    ) -> Result<Option<bool>, Error> {
        let known = change.known_events(&[pdu.event_id().to_owned()]).await?.pop();
        let event = match known {
            Some(event) => StoredEvent::clone(&event),
            None => StoredEvent::new(pdu, Decision::new(&change.snapshot.room_id)),
        };
        let (pdu, decision) = (&event.pdu, &event.decision);
        if decision.order.is_some() || decision.state_before.is_some() {
            return Ok(Some(false));
        }
        let needed = needed_events(pdu);
        if change.known_events(&needed).await?.len() < needed.len() {
            return Ok(None);
        }
        let state_before = match edge {
            Some(root) => Some(root.clone()),
            None if change.is_partial_at(pdu).await? => None,
            None => change.known_state_after(pdu.prev_events()).await?,
        };
        let rejected = match &state_before {
            Some(root) => {
                let now = change.snapshot.record.state.clone();
                let outcome = change.judge(pdu, root, false, &now).await?;
                matches!(outcome, Outcome::Rejected(_))
            }
            None if !change.snapshot.is_partial() => return Ok(None),
            None if change.allowing_events(pdu).await?.is_err() => return Ok(Some(false)),
            None => false,
        };
        let decision = Decision {
            rejected,
            state_before,
            ..decision.clone()
        };
        let event = change.redacted_early(event.decided(decision)).await?;
        change.keep(event);
        Ok(Some(!rejected))
    }

    /// The states before those events of a page that follow events which are neither in it nor known with their
    /// state, as far as they can be had. Where the room's members are on their way, old events do not wait for that:
    /// what allows them is asked for instead, the newest first.
    async fn states_at_edges(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        pdus: &[Pdu],
    ) -> Result<HashMap<OwnedEventId, String>, Error> {
        let page: BTreeSet<_> = ordered::set(pdus.iter().map(Pdu::event_id));
        let beyond = |mut ids: Vec<OwnedEventId>| {
            ids.retain(|id| !page.contains(&**id));
            ids
        };
        let (mut states, mut asked) = (HashMap::new(), 0);
        for pdu in pdus.iter().rev() {
            let event_id = pdu.event_id().to_owned();
            if pdu.prev_events().is_empty() {
                states.insert(event_id, empty_root());
            } else if asked == MAX_EDGES || self.is_settled(&event_id).await? {
                continue;
            } else if room.snapshot().is_partial() {
                let needed = beyond(needed_events(pdu));
                if self.stored_events(&needed).await?.len() < needed.len() {
                    asked += 1;
                    self.learn_auth_events(server, room, pdu).await?;
                }
            } else if !self
                .are_settled(&room.room_id, &beyond(pdu.prev_events().to_vec()))
                .await?
            {
                asked += 1;
                let root = self.state_from_any(server, room, &event_id).await?;
                states.extend(root.map(|root| (event_id, root)));
            }
        }
        Ok(states)
    }

    /// The state before an event, from the server that gave the event or, if that does not know it, another one.
    async fn state_from_any(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event_id: &EventId,
    ) -> Result<Option<String>, Error> {
        for server in self.helpers(room, &[server.to_owned()], 0, MAX_HELPERS).await? {
            match self
                .fetch_state(&server, room, event_id, Purpose::Past, Held::Perhaps)
                .await
            {
                Ok(built) => return Ok(Some(built.root)),
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => tracing::info!(%server, %error, "the state of old events is not known"),
            }
        }
        Ok(None)
    }

    /// Whether all of `event_ids` are events of the room that are stored with the state before them.
    async fn are_settled(&self, room_id: &RoomId, event_ids: &[OwnedEventId]) -> Result<bool, Error> {
        let events = self.stored_events(event_ids).await?;
        let settled = events
            .iter()
            .filter(|event| event.decision.state_before.is_some() && event.room_id() == room_id);
        Ok(settled.count() == event_ids.len())
    }

    /// At most `count` servers to be asked for history: first those of `likely`, in their order, then others in the
    /// room, connected ones before the rest, but at each `turn` another one is the first of them.
    pub(crate) async fn helpers(
        &self,
        room: &Arc<Room>,
        likely: &[OwnedServerName],
        turn: usize,
        count: usize,
    ) -> Result<Vec<OwnedServerName>, Error> {
        let mut others = self.others(&room.snapshot(), self.server_name()).await?;
        let mut servers = likely.to_vec();
        servers.retain(|server| others.remove(server));
        let others = self.near_first(others);
        let first = turn.checked_rem(others.len()).unwrap_or_default();
        servers.extend(others.iter().cycle().skip(first).take(others.len()).cloned());
        servers.truncate(count);
        Ok(servers)
    }

    /// `servers`, connected ones first.
    pub(crate) fn near_first(&self, servers: BTreeSet<OwnedServerName>) -> Vec<OwnedServerName> {
        let connected = self.seams.federation.connected();
        let is_far = |server: &OwnedServerName| !connected.iter().any(|name| name == server.as_str());
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_by_cached_key(is_far);
        servers
    }
}

/// What `events` follow.
pub(super) fn before(events: &[Arc<StoredEvent>]) -> Vec<OwnedEventId> {
    let before = events.iter().flat_map(|event| event.pdu.prev_events());
    before.cloned().collect()
}
