//! Fetching history, both sides. Spec: Server-Server API, section 'Backfilling and retrieving missing events'.

use std::{
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
};

use hearth_rooms::{
    Pdu,
    auth_check::{check_auth_events, needed_events},
    dag::topological_order,
};
use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    federation::{
        received::take_array,
        uri::{escaped, path},
    },
    rooms::{
        append::Change,
        event::{Decision, StoredEvent},
        room::Room,
        tree::{StateEntry, empty_root},
    },
};

/// The most events that are given or asked for at once.
const MAX_EVENTS: usize = 100;
/// The most events that are looked at for one page.
const MAX_SEEN: usize = 10_000;
/// The most servers that are asked for one page of history.
const MAX_HELPERS: usize = 3;

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
            "pdus": self.as_seen_by(origin, &events).await?,
        }))
    }

    /// Those of `from` that are stored and what came before them, the deepest first.
    async fn walk_back(
        &self,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut seen: BTreeSet<_> = from.iter().cloned().collect();
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
        let Some((_, oldest)) = self.timeline_after(room_id, i64::MIN, 1).await?.pop() else {
            return Ok(0);
        };
        if oldest.pdu.prev_events().is_empty() {
            return Ok(0);
        }
        for server in self.helpers(&room, oldest.sender().server_name()).await? {
            let pdus = match self
                .ask_for_history(&server, &room, oldest.pdu.prev_events(), limit.min(MAX_EVENTS))
                .await
            {
                Ok(pdus) => pdus,
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => {
                    tracing::info!(%server, %error, "a server gave no history");
                    continue;
                }
            };
            let (added, _) = self.place_old(&server, &room, pdus, None).await?;
            if added > 0 {
                return Ok(added);
            }
        }
        Ok(0)
    }

    /// Asks for the events `from` and those before them, oldest first.
    pub(crate) async fn ask_for_history(
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
        let pdus = self
            .verified_all(room.snapshot().version(), &room.room_id, values)
            .await;
        Ok(topological_order(pdus))
    }

    /// Puts `pdus`, oldest first, into the timeline: just before the order `before`, or before all that is there.
    /// Returns how many were new to it, and the lowest order given.
    pub(crate) async fn place_old(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
        before: Option<i64>,
    ) -> Result<(usize, i64), Error> {
        let Some(first) = pdus.first() else {
            return Ok((0, 0));
        };
        let state = self.state_of_first(server, room, first).await;
        let mut change = self.change(room).await;
        let ids: Vec<_> = pdus.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let known = change.known_events(&ids).await?;
        let page: HashMap<_, _> = pdus
            .iter()
            .map(|pdu| (pdu.event_id().to_owned(), pdu.clone()))
            .collect();
        let mut judged = Vec::new();
        let mut root = state;
        for pdu in pdus {
            let stored = known.iter().find(|event| event.event_id == pdu.event_id());
            let event = match stored {
                Some(event) => StoredEvent::clone(event),
                None => self.judge_old(&change, &page, pdu).await?,
            };
            let state_before = event.decision.state_before.clone().or_else(|| root.clone());
            root = match &state_before {
                Some(before) if event.state_key().is_some() && !event.decision.rejected => {
                    let entry = StateEntry::of(&event);
                    Some(change.insert_state(before, vec![entry]).await?)
                }
                _ => state_before.clone(),
            };
            if event.decision.order.is_none() {
                let decision = Decision {
                    state_before,
                    ..event.decision.clone()
                };
                let event = change.redacted_early(event.decided(decision)).await?;
                judged.push(event);
            }
        }
        let (shown, rejected): (Vec<_>, Vec<_>) =
            judged.into_iter().partition(|event| !event.decision.rejected);
        rejected.into_iter().for_each(|event| change.keep(event));
        let added = shown.len();
        let mut order = before.unwrap_or(change.snapshot.record.oldest);
        let mut redactions = Vec::new();
        for mut event in shown.into_iter().rev() {
            order -= 1;
            event.decision.order = Some(order);
            match event.kind() {
                "m.room.redaction" => redactions.push(event),
                _ => change.keep(event),
            }
        }
        for redaction in redactions {
            let redaction = change.redacting(redaction).await?;
            change.keep(redaction);
        }
        if before.is_none() {
            change.snapshot.record.oldest = order;
        }
        change.commit().await?;
        Ok((added, order))
    }

    /// Whom to ask for history: first the server `likely`, then others in the room.
    pub(crate) async fn helpers(
        &self,
        room: &Arc<Room>,
        likely: &ServerName,
    ) -> Result<Vec<OwnedServerName>, Error> {
        let servers = self.others(&room.snapshot(), self.server_name()).await?;
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_by_key(|server| server != likely);
        servers.truncate(MAX_HELPERS);
        Ok(servers)
    }

    /// The state before the oldest event of a page; `None` if it cannot be had: the page is shown all the same.
    async fn state_of_first(&self, server: &ServerName, room: &Arc<Room>, first: &Pdu) -> Option<String> {
        if first.prev_events().is_empty() {
            return Some(empty_root());
        }
        if room.snapshot().is_partial() {
            // Its members are on their way: old events do not wait for them.
            return None;
        }
        match self.fetch_state(server, room, first.event_id()).await {
            Ok(built) => Some(built.root),
            Err(error) => {
                tracing::info!(%server, %error, "the state of old events is not known");
                None
            }
        }
    }

    /// An old event with the decision whether its own auth events, of the same page or stored, allow it.
    async fn judge_old(
        &self,
        change: &Change<'_>,
        page: &HashMap<OwnedEventId, Pdu>,
        pdu: Pdu,
    ) -> Result<StoredEvent, Error> {
        let known = change.known_events(&needed_events(&pdu)).await?;
        let lookup = |id: &EventId| {
            let stored = known
                .iter()
                .find(|event| event.event_id == id)
                .map(|event| event.pdu.clone());
            stored.or_else(|| page.get(id).cloned())
        };
        let rejected = check_auth_events(&pdu, lookup).is_err();
        let decision = Decision {
            rejected,
            ..Decision::new(pdu.room_id())
        };
        Ok(StoredEvent::new(pdu, decision))
    }
}
