//! Fetching the state before an event: first its ids, then the events that are not held here, in slices. What
//! has come is kept, so that whoever begins anew asks only for the rest.
//! Spec: Server-Server API, section 'Retrieving events'.

use std::{collections::BTreeSet, mem, sync::Arc};

use futures::{StreamExt, future::join, stream::FuturesOrdered};
use hearth_rooms::{
    Pdu,
    dag::{auth_chain, topological_order},
    ordered,
};
use hearth_storage::BoxFuture;
use http::Method;
use ruma_common::{EventId, OwnedEventId, ServerName};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    federation::{
        bulk::MAX_EVENTS,
        intake::{Built, Intake, SLICE},
        received::{event_ids, take_array},
        request::RequestError,
        uri::{escaped, path},
    },
    rooms::{room::Room, view::CREATE},
};

/// The most events of a state, and of its auth chain, that are looked at.
pub(crate) const MAX_STATE: usize = 200_000;
/// The most events, beside those that are stored, of what a state or an event rests on, from a server that is not known to
/// be in the room.
const MAX_OF_STRANGER: usize = 50;
/// How many slices are asked for before the first of them is stored.
const SLICES: usize = 2;
/// How many events are asked for one by one, of a server that gives no slices, before the whole state is.
const MAX_SINGLE: usize = 20;

/// Slices that were asked for, in order.
type Answers<'a> = FuturesOrdered<BoxFuture<'a, Result<Slice<'a>, RequestError>>>;

/// The events that were asked for, and what came.
type Slice<'a> = (&'a [OwnedEventId], Vec<Value>);

/// What a state is fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To know the state before some event.
    Past,
    /// To make the room whole: it becomes the room's state.
    Whole,
}

/// Which events of a state are stored already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held<'a> {
    /// Nobody knows.
    Perhaps,
    /// Hardly any but these: the room has just been joined.
    These(&'a BTreeSet<OwnedEventId>),
}

impl Homeserver {
    /// Fetches the state before `event_id` from `server`; its events become outliers.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if the server gives none, or one without a create event;
    /// [`Error::NotFound`] if the room is left meanwhile.
    pub(crate) async fn fetch_state(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event_id: &EventId,
        purpose: Purpose,
        held: Held<'_>,
    ) -> Result<Built, Error> {
        let query = format!("event_id={}", escaped(event_id.as_str()));
        let uri = path("v1/state_ids", &[room.room_id.as_str()], &query);
        let answer = self.request(server, Method::GET, &uri, None).await?;
        let state = event_ids(&answer, "pdu_ids", MAX_STATE);
        let chain = event_ids(&answer, "auth_chain_ids", MAX_STATE);
        // What others rest on comes first: then nothing has to wait for it.
        let missing = self.not_held(&[&chain[..], &state[..]].concat(), held).await?;
        if purpose == Purpose::Past {
            self.check_amount(server, room, &missing).await?;
        }
        let state: BTreeSet<_> = ordered::set(state);
        let version = room.snapshot().version();
        let mut intake = match purpose {
            Purpose::Past => Intake::new(room, version),
            Purpose::Whole => Intake::of_whole_room(room, version, state.clone()),
        };
        if matches!(held, Held::These(_)) {
            intake = intake.expecting_new();
        }
        self.fetch_events(server, room, event_id, &missing, &mut intake)
            .await?;
        let state: Vec<_> = state.into_iter().collect();
        let built = self
            .build_state(&room.room_id, &state, intake.into_entries())
            .await?;
        let create = self.view_at(&built.root, &[CREATE]).await?;
        match create.get(CREATE.0, CREATE.1) {
            Some(_) => Ok(built),
            None => Err(Error::BadJson("the state that came has no create event".into())),
        }
    }

    /// Checks that `server` is in the room, or few of `event_ids` are not stored: whoever is not known to be in the room
    /// gives no more.
    async fn check_amount(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event_ids: &[OwnedEventId],
    ) -> Result<(), Error> {
        if event_ids.len() <= MAX_OF_STRANGER || self.has_server(&room.room_id, server).await? {
            return Ok(());
        }
        match self.not_held(event_ids, Held::Perhaps).await?.len() {
            0..=MAX_OF_STRANGER => Ok(()),
            _ => Err(Error::Unreachable(
                "a server that is not in the room gives too much".into(),
            )),
        }
    }

    /// Those of `event_ids` that are not stored, each once. What `held` says is taken for true.
    async fn not_held(&self, event_ids: &[OwnedEventId], held: Held<'_>) -> Result<Vec<OwnedEventId>, Error> {
        let (mut missing, mut seen) = (Vec::new(), BTreeSet::new());
        if let Held::These(held) = held {
            let new = event_ids
                .iter()
                .filter(|id| !held.contains(*id) && seen.insert(*id));
            return Ok(new.cloned().collect());
        }
        for slice in event_ids.chunks(MAX_EVENTS) {
            let held = self.stored_events(slice).await?;
            let held: BTreeSet<_> = ordered::set(held.iter().map(|event| &event.event_id));
            let new = slice.iter().filter(|id| !held.contains(id) && seen.insert(*id));
            missing.extend(new.cloned());
            self.give_way().await;
        }
        Ok(missing)
    }

    /// Fetches the events `missing` of the state before `event_id`.
    async fn fetch_events(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        event_id: &EventId,
        missing: &[OwnedEventId],
        intake: &mut Intake,
    ) -> Result<(), Error> {
        let mut slices = missing.chunks(MAX_EVENTS);
        let mut answers = Answers::new();
        let mut verified = Vec::new();
        loop {
            for slice in slices.by_ref().take(SLICES - answers.len()) {
                answers.push_back(Box::pin(self.ask_for_slice(server, room, slice)));
            }
            // One slice is verified while the one before it is being stored.
            let next = self.next_verified(room, &mut answers);
            let storing = self.take_verified(intake, mem::take(&mut verified));
            let (next, stored) = join(next, storing).await;
            stored?;
            if room.snapshot().members().local == 0 {
                return Err(Error::NotFound("the room was left".into()));
            }
            match next {
                Ok(Some(pdus)) => verified = pdus,
                Ok(None) => return Ok(()),
                Err(RequestError::Refused { errcode, .. }) if errcode == "M_UNRECOGNIZED" => {
                    return self
                        .fetch_as_specified(server, intake, room, event_id, missing)
                        .await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Those events of the next of `answers` that were asked for and are as they must be; `None` if there are no more
    /// answers.
    async fn next_verified(
        &self,
        room: &Arc<Room>,
        answers: &mut Answers<'_>,
    ) -> Result<Option<Vec<Pdu>>, RequestError> {
        let Some((slice, values)) = answers.next().await.transpose()? else {
            return Ok(None);
        };
        let version = room.snapshot().version();
        let mut pdus = self.verified_all(version, &room.room_id, values).await;
        pdus.retain(|pdu| slice.iter().any(|id| id == pdu.event_id()));
        Ok(Some(pdus))
    }

    async fn ask_for_slice<'a>(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        slice: &'a [OwnedEventId],
    ) -> Result<Slice<'a>, RequestError> {
        let uri = path("unstable/org.hearth/events", &[room.room_id.as_str()], "");
        let body = json!({ "event_ids": slice });
        let mut answer = self.request(server, Method::POST, &uri, Some(body)).await?;
        Ok((slice, take_array(&mut answer, "pdus", MAX_EVENTS)))
    }

    /// Asks a server that gives no slices: for few events one by one, else for the whole state.
    async fn fetch_as_specified(
        &self,
        server: &ServerName,
        intake: &mut Intake,
        room: &Arc<Room>,
        event_id: &EventId,
        missing: &[OwnedEventId],
    ) -> Result<(), Error> {
        intake.take_only(missing);
        if missing.len() <= MAX_SINGLE {
            for event_id in missing {
                let uri = path("v1/event", &[event_id.as_str()], "");
                let mut answer = self.request(server, Method::GET, &uri, None).await?;
                let values = take_array(&mut answer, "pdus", 1);
                self.take_outliers(intake, values).await?;
            }
            return Ok(());
        }
        let query = format!("event_id={}", escaped(event_id.as_str()));
        let uri = path("v1/state", &[room.room_id.as_str()], &query);
        let mut answer = self.request(server, Method::GET, &uri, None).await?;
        for field in ["auth_chain", "pdus"] {
            let values = take_array(&mut answer, field, MAX_STATE);
            self.take_outliers(intake, values).await?;
        }
        Ok(())
    }

    /// Fetches what `pdu` rests on.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if the server does not give it, or gives too much.
    pub(crate) async fn fetch_auth_chain(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        pdu: &Pdu,
    ) -> Result<(), Error> {
        let ids = [room.room_id.as_str(), pdu.event_id().as_str()];
        let uri = path("v1/event_auth", &ids, "");
        let mut answer = self.request(server, Method::GET, &uri, None).await?;
        let values = take_array(&mut answer, "auth_chain", MAX_CHAIN);
        let chain = self.verified_all(pdu.version(), &room.room_id, values).await;
        let chain = topological_order(auth_chain(pdu, chain));
        let ids: Vec<_> = chain.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        self.check_amount(server, room, &ids).await?;
        let mut intake = Intake::new(room, pdu.version());
        for slice in chain.chunks(SLICE) {
            self.take_verified(&mut intake, slice.to_vec()).await?;
        }
        Ok(())
    }
}

/// The most events of an auth chain that are looked at for one event.
const MAX_CHAIN: usize = 10_000;
