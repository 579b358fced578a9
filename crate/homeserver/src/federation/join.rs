//! Joining through another server. Spec: Server-Server API, section 'Joining rooms'.

use std::collections::{BTreeSet, HashMap};

use hearth_rooms::{
    Pdu, RoomVersion, auth_check::check_auth_events, auth_check::check_state, builder::sign_template,
    dag::topological_order,
};
use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    federation::{
        member_event::Template,
        received::{take_array, to_value, verified},
        uri::path,
    },
    rooms::{
        append::{Audience, Change},
        event::{Decision, StoredEvent},
        room::{Room, RoomRecord},
        tree::{StateEntry, empty_root},
    },
};

/// The most events of an answer to `send_join` that are looked at, in each of its two lists.
const MAX_STATE: usize = 200_000;
/// The most servers that are asked to help with one join.
const MAX_HELPERS: usize = 10;

impl Homeserver {
    /// Joins a local user to a room that this server is not in, through the first of `servers` that helps.
    pub(crate) async fn join_remote(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        content: JsonObject,
    ) -> Result<(), Error> {
        let mut last = Error::NotFound("no server is known that is in this room".into());
        let mut asked = BTreeSet::from([self.server_name().to_owned()]);
        for server in servers
            .into_iter()
            .filter(|server| asked.insert(server.clone()))
            .take(MAX_HELPERS)
        {
            match self
                .join_through(&server, user_id, room_id, content.clone())
                .await
            {
                Ok(()) => return Ok(()),
                Err(error @ (Error::Store(_) | Error::UnsupportedRoomVersion(_))) => return Err(error),
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "a server did not help to join");
                    last = worse(last, error);
                }
            }
        }
        Err(last)
    }

    async fn join_through(
        &self,
        server: &ServerName,
        user_id: &UserId,
        room_id: &RoomId,
        content: JsonObject,
    ) -> Result<(), Error> {
        let versions: Vec<_> = RoomVersion::ALL
            .iter()
            .map(|version| format!("ver={version}"))
            .collect();
        let uri = path(
            "v1/make_join",
            &[room_id.as_str(), user_id.as_str()],
            &versions.join("&"),
        );
        let answer = self.request(server, Method::GET, &uri, None).await?;
        let Template { version, mut event } = Template::read(answer, room_id, user_id, content)?;
        event.insert("origin_server_ts".into(), self.event_timestamp().into());
        let join = sign_template(
            version,
            event,
            self.server_name().as_str(),
            self.identity.key_pair(),
        )
        .map_err(|error| Error::Unreachable(error.to_string()))?;
        let uri = path("v2/send_join", &[room_id.as_str(), join.event_id().as_str()], "");
        let answer = self
            .request(server, Method::PUT, &uri, Some(to_value(&join)?))
            .await?;
        self.take_room(join, answer).await
    }

    /// Makes the answer to `send_join` the room.
    async fn take_room(&self, join: Pdu, mut answer: Value) -> Result<(), Error> {
        let version = join.version();
        let room_id = join.room_id().to_owned();
        let join = countersigned(join, answer.get_mut("event").map(Value::take));
        let state = take_array(&mut answer, "state", MAX_STATE);
        let chain = take_array(&mut answer, "auth_chain", MAX_STATE);
        let state = self.verified_all(version, &room_id, state).await;
        let chain = self.verified_all(version, &room_id, chain).await;
        let arrived = Arrived::check(state, chain);
        arrived.check_join(&join)?;
        let room = match self.room(&room_id).await? {
            Some(room) => room,
            None => Room::new(room_id, version),
        };
        let mut change = self.change(&room).await;
        if change.snapshot.members().local > 0 {
            // Somebody else of this server has joined in the meantime.
            change.admit(join, None, BTreeSet::new()).await?;
            return change.commit().await.map(drop);
        }
        let root = change.keep_arrived(arrived).await?;
        let returns = !change.snapshot.record.extremities.is_empty();
        if returns {
            self.leave_gap();
        }
        change.restart(&join, root);
        // The server that helped tells the others of the join.
        change.append(join.clone(), None, Audience::Nobody).await?;
        change.commit().await?;
        if returns {
            self.fill_gap(room, join.event_id().to_owned());
        }
        Ok(())
    }
}

impl Change<'_> {
    /// Stores the events that are not stored yet as outliers; returns the root of their state.
    pub(crate) async fn keep_arrived(&mut self, arrived: Arrived) -> Result<String, Error> {
        let ids: Vec<_> = arrived.events.keys().cloned().collect();
        let known: BTreeSet<_> = self
            .known_events(&ids)
            .await?
            .iter()
            .map(|event| event.event_id.clone())
            .collect();
        let mut entries = Vec::with_capacity(arrived.state.len());
        for (event_id, (pdu, rejected)) in arrived.events {
            let decision = Decision {
                rejected,
                ..Decision::new(pdu.room_id())
            };
            let event = StoredEvent::new(pdu, decision);
            if arrived.state.contains(&event_id) && !rejected {
                entries.push(StateEntry::of(&event));
            }
            if !known.contains(&event_id) {
                self.keep(event);
            }
        }
        self.insert_state(&empty_root(), entries).await
    }

    /// Begins the room anew just before `join`, with the state `root`: nothing that was known of it counts.
    fn restart(&mut self, join: &Pdu, root: String) {
        self.snapshot.record = RoomRecord {
            version: join.version(),
            extremities: join.prev_events().to_vec(),
            state: root,
            depth: join.depth(),
            ..self.snapshot.record.clone()
        };
    }
}

/// Events that came with a state: which are allowed, and which are the state.
pub(crate) struct Arrived {
    /// All events, and whether the rules reject them.
    events: HashMap<OwnedEventId, (Pdu, bool)>,
    state: BTreeSet<OwnedEventId>,
}

impl Arrived {
    /// Checks verified events: each must be allowed by the auth events that it names.
    pub(crate) fn check(state: Vec<Pdu>, chain: Vec<Pdu>) -> Self {
        let is_state = state.iter().filter(|pdu| pdu.state_key().is_some());
        let state_ids = is_state.map(|pdu| pdu.event_id().to_owned()).collect();
        let mut events: HashMap<OwnedEventId, (Pdu, bool)> = HashMap::new();
        for pdu in topological_order(state.into_iter().chain(chain)) {
            let lookup = |id: &EventId| {
                events
                    .get(id)
                    .map(|(pdu, rejected)| pdu.clone().with_rejected(*rejected))
            };
            let rejected = check_auth_events(&pdu, lookup).is_err();
            if rejected {
                tracing::warn!(event_id = %pdu.event_id(), "an event of a state is not allowed");
            }
            events.insert(pdu.event_id().to_owned(), (pdu, rejected));
        }
        Self {
            events,
            state: state_ids,
        }
    }

    /// Whether the state has an allowed create event: without one it is no state.
    pub(crate) fn has_create(&self) -> bool {
        let is_create =
            |(pdu, rejected): &&(Pdu, bool)| !rejected && pdu.event_type().to_string() == "m.room.create";
        self.state
            .iter()
            .filter_map(|event_id| self.events.get(event_id))
            .any(|entry| is_create(&entry))
    }

    /// Whether the state is one of the join's room, and allows the join.
    fn check_join(&self, join: &Pdu) -> Result<(), Error> {
        let state: HashMap<_, _> = self
            .state
            .iter()
            .filter_map(|event_id| self.events.get(event_id))
            .filter(|(_, rejected)| !rejected)
            .filter_map(|(pdu, _)| Some((pdu.state_entry()?, pdu.clone())))
            .collect();
        let allowed = check_state(join, |kind, key| {
            state.get(&(kind.clone(), key.to_owned())).cloned()
        });
        allowed.map_err(|rejection| {
            Error::Forbidden(format!(
                "the state that came does not allow to join: {}",
                rejection.0
            ))
        })
    }
}

/// The join as the other server signed it too, if that is the same event.
fn countersigned(join: Pdu, theirs: Option<Value>) -> Pdu {
    let theirs = theirs.and_then(|value| verified(join.version(), value).ok());
    theirs
        .filter(|theirs| theirs.event_id() == join.event_id())
        .unwrap_or(join)
}

/// The error that says more: a refusal says more than that somebody could not be reached.
fn worse(first: Error, second: Error) -> Error {
    match (&first, &second) {
        (Error::Forbidden(_), _) => first,
        _ => second,
    }
}
