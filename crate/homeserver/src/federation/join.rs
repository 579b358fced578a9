//! Joining through another server. Spec: Server-Server API, section 'Joining rooms'.

use std::{collections::BTreeSet, sync::Arc};

use hearth_rooms::{
    Pdu, Rejection, RoomVersion, auth_check::check_state, auth_selection::auth_types_of, ordered,
};
use http::Method;
use ruma_common::{OwnedEventId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    federation::{
        fetch_state::MAX_STATE,
        intake::Intake,
        received::{take_array, to_value, verified},
        uri::path,
    },
    identity::public_key,
    rooms::{
        append::Audience,
        change::Change,
        partial::PartialJoin,
        room::{Room, RoomRecord},
        view::{CREATE, MEMBER},
    },
};

/// The most servers of a room that are believed to be in it before the state says so: more than the largest rooms have.
const MAX_SERVERS: usize = 20_000;

impl Homeserver {
    /// Joins a local user to a room that this server is not in, through the first of `servers` that helps.
    pub(crate) async fn join_remote(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        content: JsonObject,
    ) -> Result<(), Error> {
        let lock = self.partial.joining(room_id);
        let _joining = lock.lock().await;
        if let Some(room) = self.resident_room(room_id).await? {
            // Somebody else of this server has joined in the meantime.
            return self.join_resident(user_id, &room, content).await;
        }
        let _under_way = self.joins.begin(room_id);
        let content = &content;
        self.through_first(room_id, servers, |server| async move {
            self.join_through(&server, user_id, room_id, content.clone())
                .await
        })
        .await
    }

    async fn join_through(
        &self,
        server: &ServerName,
        user_id: &UserId,
        room_id: &RoomId,
        content: JsonObject,
    ) -> Result<(), Error> {
        let make = ("v1/make_join", &*RoomVersion::as_query());
        let join = self.sign_now(self.template(server, make, room_id, user_id, content).await?)?;
        let ids = [room_id.as_str(), join.event_id().as_str()];
        let uri = path("v2/send_join", &ids, "omit_members=true");
        let answer = self
            .request(server, Method::PUT, &uri, Some(to_value(&join)?))
            .await?;
        self.take_room(server, join, answer).await
    }

    /// Makes the answer of `helper` to `send_join` the room.
    async fn take_room(&self, helper: &ServerName, join: Pdu, mut answer: Value) -> Result<(), Error> {
        let room_id = join.room_id().to_owned();
        let join = countersigned(join, answer.get_mut("event").map(Value::take));
        let room = match self.room(&room_id).await? {
            Some(room) => room,
            None => Room::new(room_id.clone(), join.version()),
        };
        let partial = partial_join(helper, &join, &answer, self.now());
        let (root, held) = self
            .state_of_answer(&room, &join, partial.is_some(), answer)
            .await?;
        let mut change = self.change(&room).await;
        let returns = !change.snapshot.record.extremities.is_empty();
        if returns {
            self.leave_gap();
        }
        change.restart(&join, root);
        if let Some(partial) = partial.clone() {
            change.begin_partial(&partial)?;
            self.partial.begin(&room_id, partial);
        }
        // The server that helped tells the others of the join.
        change.append(join.clone(), None, Audience::Nobody).await?;
        if returns {
            change.note_gap(join.event_id());
        }
        change.commit().await?;
        if partial.is_some() {
            self.complete(room_id, Some(held).filter(|_| !returns));
        }
        if returns {
            self.fill_gap(room, join.event_id().to_owned(), Some(helper.to_owned()));
        }
        Ok(())
    }

    /// Stores what came with the answer to `send_join`; returns the root of the state before the join, which
    /// that allows, and what came. Where members were left out, those that the join rests on are part of the state.
    async fn state_of_answer(
        &self,
        room: &Arc<Room>,
        join: &Pdu,
        members_omitted: bool,
        mut answer: Value,
    ) -> Result<(String, BTreeSet<OwnedEventId>), Error> {
        let mut intake = Intake::new(room, join.version());
        let chain = take_array(&mut answer, "auth_chain", MAX_STATE);
        let chain = self.take_outliers(&mut intake, chain).await?;
        let state = take_array(&mut answer, "state", MAX_STATE);
        let mut state = self.take_outliers(&mut intake, state).await?;
        if members_omitted {
            let members = self.stored_events(join.auth_events()).await?;
            let members = members.iter().filter(|event| event.kind() == MEMBER);
            state.extend(members.map(|event| event.event_id.clone()));
        }
        let built = self
            .build_state(&room.room_id, &state, intake.into_entries())
            .await?;
        self.check_join(join, &built.root).await?;
        Ok((built.root, ordered::set(chain.into_iter().chain(state))))
    }

    /// Whether the state `root` allows `join`.
    pub(crate) async fn check_join(&self, join: &Pdu, root: &str) -> Result<(), Error> {
        let forbidden = |rejection: Rejection| {
            let reason = rejection.0;
            Error::Forbidden(format!("the state that came does not allow to join: {reason}"))
        };
        let types = auth_types_of(join).map_err(forbidden)?;
        let names: Vec<_> = types.iter().map(|(kind, _)| kind.to_string()).collect();
        let keys = names.iter().zip(&types);
        let keys = keys.map(|(kind, (_, state_key))| (kind.as_str(), state_key.as_str()));
        let state = self
            .view_at(root, &keys.chain([CREATE]).collect::<Vec<_>>())
            .await?;
        check_state(join, |kind, key| state.pdu(kind, key)).map_err(forbidden)
    }
}

impl Change<'_> {
    /// Begins the room anew just before `join`, with the state `root`: nothing that was known of it counts.
    fn restart(&mut self, join: &Pdu, root: String) {
        self.snapshot.record = RoomRecord {
            version: join.version(),
            extremities: join.prev_events().to_vec(),
            state: root,
            depth: join.depth(),
            partial: None,
            ..self.snapshot.record.clone()
        };
    }
}

/// Who can be asked for the rest, if the answer to `send_join` has members left out.
fn partial_join(helper: &ServerName, join: &Pdu, answer: &Value, began: u64) -> Option<PartialJoin> {
    answer
        .get("members_omitted")?
        .as_bool()
        .filter(|omitted| *omitted)?;
    let servers = answer.get("servers_in_room").and_then(Value::as_array);
    let servers = servers.into_iter().flatten().filter_map(Value::as_str);
    // Nobody could be reached under another name.
    let servers = servers.filter(|server| public_key(server).is_some());
    Some(PartialJoin {
        join: join.event_id().to_owned(),
        helper: helper.to_owned(),
        servers: servers
            .filter_map(|server| ServerName::parse(server).ok())
            .take(MAX_SERVERS)
            .collect(),
        began,
    })
}

/// The join as the other server signed it too, if that is the same event.
fn countersigned(join: Pdu, theirs: Option<Value>) -> Pdu {
    let theirs = theirs.and_then(|value| verified(join.version(), value).ok());
    theirs
        .filter(|theirs| theirs.is_same_event(&join))
        .unwrap_or(join)
}
