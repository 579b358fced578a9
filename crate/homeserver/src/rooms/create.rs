//! Making rooms. Spec: Client-Server API, section 'Creation'.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures::{
    channel::oneshot,
    future::{Either, join_all, select},
};
use hearth_rooms::{EventBuilder, Pdu, RoomVersion, UnsupportedVersion, auth_check::check_auth_events};
use hearth_storage::Table;
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        aliases::{alias_key, alias_row, named_aliases},
        append::Audience,
        directory::published_key,
        draft::{Draft, build_error},
        room::Room,
        view::{CANONICAL_ALIAS, MEMBER, SERVER_ACL},
    },
};

/// The most users that are invited to a new room at once.
const MAX_INVITES: usize = 100;
/// How many users of other servers are invited at once.
const INVITED_AT_ONCE: usize = 16;
/// How long it is waited for what their servers say.
const PATIENCE: Duration = Duration::from_secs(15);

/// The body of `POST /createRoom`, field by field as the spec has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CreateRoom {
    /// `public` puts the room into the directory; `private` is the default.
    pub visibility: Option<String>,
    /// The local part of the room's alias.
    pub room_alias_name: Option<String>,
    /// The room's name.
    pub name: Option<String>,
    /// The room's topic.
    pub topic: Option<String>,
    /// Users to invite.
    pub invite: Vec<OwnedUserId>,
    /// The room version, or the server's default.
    pub room_version: Option<String>,
    /// Extra fields of the create event.
    pub creation_content: JsonObject,
    /// State events to set, after those of the preset.
    pub initial_state: Vec<InitialState>,
    /// `private_chat`, `public_chat` or `trusted_private_chat`.
    pub preset: Option<String>,
    /// Marks the invitations as those of a direct chat.
    pub is_direct: bool,
    /// Overrides of the power levels' top-level fields.
    pub power_level_content_override: JsonObject,
}

/// One event of [`CreateRoom::initial_state`].
#[derive(Clone, Debug, Deserialize)]
pub struct InitialState {
    /// The event type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state key.
    #[serde(default)]
    pub state_key: String,
    /// The content.
    pub content: JsonObject,
}

impl Homeserver {
    /// Makes a room with `creator` in it. The whole room is one commit.
    ///
    /// # Errors
    /// [`Error::UnsupportedRoomVersion`], [`Error::RoomInUse`] if the alias is taken,
    /// [`Error::InvalidRoomState`] if the initial state is not allowed, [`Error::InvalidParam`]. [`Error::InviteBlocked`] if
    /// a user does not want to be invited: one of another server says so when the room is there already.
    pub async fn create_room(&self, creator: &UserId, request: CreateRoom) -> Result<OwnedRoomId, Error> {
        let plan = Plan::new(self, creator, request)?;
        let directory = self.directory_lock.lock().await;
        let alias = self.free_alias(plan.request.room_alias_name.as_deref()).await?;
        let create = self.create_event(
            plan.version,
            creator,
            self.new_room_id(plan.version)?,
            plan.create_content(),
        )?;
        let room = Room::new(create.room_id().to_owned(), plan.version);
        let mut change = self.change(&room).await;
        change.append(create, None, Audience::Nobody).await?;
        for draft in self.first_events(&plan, alias.as_ref()).await? {
            change.send(draft).await.map_err(invalid_state)?;
        }
        if let Some(alias) = &alias {
            change.batch.put(
                Table::Directory,
                alias_key(alias),
                alias_row(&room.room_id, creator)?,
            );
        }
        if plan.request.visibility.as_deref() == Some("public") {
            change
                .batch
                .put(Table::Directory, published_key(&room.room_id), []);
        }
        change.commit().await?;
        drop(directory);
        self.invite_others(plan, &room.room_id).await?;
        Ok(room.room_id.clone())
    }

    /// The create event of a new room. `room_id` is as [`Homeserver::new_room_id`] gave it.
    ///
    /// # Errors
    /// [`Error::InvalidRoomState`] if the room version does not allow `content`.
    pub(crate) fn create_event(
        &self,
        version: RoomVersion,
        creator: &UserId,
        room_id: Option<OwnedRoomId>,
        mut content: JsonObject,
    ) -> Result<Pdu, Error> {
        content.insert("room_version".into(), version.as_str().into());
        if !version.rules().authorization.use_room_create_sender {
            content.insert("creator".into(), creator.as_str().into());
        }
        let builder = EventBuilder {
            room_id,
            sender: creator.to_owned(),
            event_type: TimelineEventType::RoomCreate,
            state_key: Some(String::new()),
            content,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            reference_hashes: BTreeMap::new(),
            depth: 1,
            origin_server_ts: self.event_timestamp(),
        };
        let create = builder.build(version, self.identity.server_name(), self.identity.key_pair());
        let create = create.map_err(build_error)?;
        check_auth_events(&create, |_| None).map_err(|rejection| Error::InvalidRoomState(rejection.0))?;
        Ok(create)
    }

    /// An id for a new room; none in versions where it follows from the create event.
    pub(crate) fn new_room_id(&self, version: RoomVersion) -> Result<Option<OwnedRoomId>, Error> {
        if version.room_id_is_create_hash() {
            return Ok(None);
        }
        RoomId::parse(format!("!{}:{}", self.random_id(12), self.server_name()))
            .map(Some)
            .map_err(|error| Error::Damaged(error.to_string()))
    }

    /// The events that follow the create event, in the order that the spec lays down.
    async fn first_events(&self, plan: &Plan, alias: Option<&OwnedRoomAliasId>) -> Result<Vec<Draft>, Error> {
        let creator = &plan.creator;
        let state = |kind: &str, content: Value| Draft::state(creator, kind, "", object(content));
        let join = self.member_content(creator, "join", None).await?;
        let mut drafts = vec![Draft::member(creator, creator, join)];
        drafts.push(Draft::state(
            creator,
            "m.room.power_levels",
            "",
            plan.power_levels(),
        ));
        if let Some(alias) = alias {
            drafts.push(state("m.room.canonical_alias", json!({ "alias": alias })));
        }
        let set_later = |kind: &str| {
            plan.request
                .initial_state
                .iter()
                .any(|s| s.kind == kind && s.state_key.is_empty())
        };
        for (kind, content) in plan.preset.state() {
            if !set_later(kind) {
                drafts.push(state(kind, content));
            }
        }
        for initial in &plan.request.initial_state {
            check_aliases(initial, alias)?;
            drafts.push(Draft::state(
                creator,
                &initial.kind,
                &initial.state_key,
                initial.content.clone(),
            ));
        }
        drafts.extend(
            plan.request
                .name
                .as_ref()
                .map(|name| state("m.room.name", json!({ "name": name }))),
        );
        drafts.extend(
            plan.request
                .topic
                .as_ref()
                .map(|topic| state("m.room.topic", topic_content(topic))),
        );
        for invited in plan.request.invite.iter().filter(|user| self.is_local(user)) {
            self.check_invited(creator, None, invited).await?;
            let mut content = self.member_content(invited, "invite", None).await?;
            if plan.request.is_direct {
                content.insert("is_direct".into(), true.into());
            }
            drafts.push(Draft::member(creator, invited, content));
        }
        Ok(drafts)
    }

    /// Invites users of other servers, side by side. The room exists by now: who cannot be reached in time is still
    /// tried, and can be invited again.
    async fn invite_others(&self, plan: Plan, room_id: &RoomId) -> Result<(), Error> {
        let mut content = object(json!({ "membership": "invite" }));
        if plan.request.is_direct {
            content.insert("is_direct".into(), true.into());
        }
        let others = plan
            .request
            .invite
            .into_iter()
            .filter(|user| !self.is_local(user));
        let others: Vec<_> = others.collect();
        if others.is_empty() {
            return Ok(());
        }
        let (room_id, creator) = (room_id.to_owned(), plan.creator);
        let (done, outcome) = oneshot::channel();
        self.spawn(|homeserver| async move {
            let mut blocked = Ok(());
            for some in others.chunks(INVITED_AT_ONCE) {
                let asked = some
                    .iter()
                    .map(|invited| homeserver.invite_remote(&creator, &room_id, invited, content.clone()));
                for (invited, invite) in some.iter().zip(join_all(asked).await) {
                    match invite {
                        Err(Error::InviteBlocked) => blocked = Err(Error::InviteBlocked),
                        Err(error) => {
                            tracing::warn!(%invited, %error, "an invite of a new room was not delivered");
                        }
                        Ok(_) => (),
                    }
                }
            }
            // Who asked may have stopped waiting.
            let _ = done.send(blocked);
        });
        match select(outcome, self.seams.clock.sleep(PATIENCE)).await {
            Either::Left((Ok(outcome), _)) => outcome,
            _ => Ok(()),
        }
    }
}

/// A checked request.
struct Plan {
    creator: OwnedUserId,
    version: RoomVersion,
    preset: Preset,
    request: CreateRoom,
}

impl Plan {
    fn new(homeserver: &Homeserver, creator: &UserId, request: CreateRoom) -> Result<Self, Error> {
        let default = homeserver.config.default_room_version.as_str();
        let version = request.room_version.as_deref().unwrap_or(default);
        let version = version
            .parse()
            .map_err(|UnsupportedVersion(name)| Error::UnsupportedRoomVersion(name))?;
        let preset = Preset::of(&request)?;
        check_initial(homeserver, &request.initial_state)?;
        if request.invite.len() > MAX_INVITES {
            return Err(Error::InvalidParam(format!("more than {MAX_INVITES} invites")));
        }
        Ok(Self {
            creator: creator.to_owned(),
            version,
            preset,
            request,
        })
    }

    fn ranks_creators(&self) -> bool {
        ranks_creators(self.version)
    }

    fn create_content(&self) -> JsonObject {
        let mut content = self.request.creation_content.clone();
        if self.ranks_creators()
            && self.preset == Preset::TrustedPrivateChat
            && !self.request.invite.is_empty()
        {
            let named = content.remove("additional_creators");
            let mut creators: Vec<Value> = named
                .and_then(|named| Some(named.as_array()?.clone()))
                .unwrap_or_default();
            let mut seen = HashSet::new();
            creators.extend(self.request.invite.iter().map(|user| user.as_str().into()));
            creators.retain(|creator| seen.insert(creator.to_string()));
            content.insert("additional_creators".into(), creators.into());
        }
        content
    }

    fn power_levels(&self) -> JsonObject {
        let mut users = JsonObject::new();
        if !self.ranks_creators() {
            users.insert(self.creator.to_string(), 100.into());
            if self.preset == Preset::TrustedPrivateChat {
                users.extend(
                    self.request
                        .invite
                        .iter()
                        .map(|user| (user.to_string(), 100.into())),
                );
            }
        }
        let mut levels = first_levels(self.version, users);
        if self.preset == Preset::PublicChat {
            // As in Synapse: where anybody may come in, not anybody may call others.
            levels.insert("invite".into(), 50.into());
        }
        levels.extend(self.request.power_level_content_override.clone());
        levels
    }
}

/// Refuses initial state that would do what other fields are for, or shut this server out.
fn check_initial(homeserver: &Homeserver, initial: &[InitialState]) -> Result<(), Error> {
    for state in initial {
        match &*state.kind {
            MEMBER => return Err(Error::InvalidRoomState("members are invited by `invite`".into())),
            kind if (kind, &*state.state_key) == SERVER_ACL => homeserver.check_own_acl(&state.content)?,
            _ => (),
        }
    }
    Ok(())
}

/// Refuses a canonical alias that does not mean the new room, whose only one is `alias`.
fn check_aliases(initial: &InitialState, alias: Option<&OwnedRoomAliasId>) -> Result<(), Error> {
    for named in named_aliases(&initial.content).take_while(|_| initial.kind == CANONICAL_ALIAS.0) {
        let named = named?;
        if Some(&named) != alias {
            return Err(Error::BadAlias(format!("{named} does not mean this room")));
        }
    }
    Ok(())
}

/// Whether creators outrank everybody else in rooms of `version`, and are so not among the power levels.
pub(crate) fn ranks_creators(version: RoomVersion) -> bool {
    version.rules().authorization.explicitly_privilege_room_creators
}

/// The power levels of a new room in which nobody asked for others.
pub(crate) fn first_levels(version: RoomVersion, users: JsonObject) -> JsonObject {
    let tombstone = if ranks_creators(version) { 150 } else { 100 };
    object(json!({
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 0,
    }))
}

/// The presets, by their names in the spec.
#[allow(clippy::enum_variant_names, reason = "the names are those of the spec")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preset {
    PrivateChat,
    TrustedPrivateChat,
    PublicChat,
}

impl Preset {
    fn of(request: &CreateRoom) -> Result<Self, Error> {
        match (request.preset.as_deref(), request.visibility.as_deref()) {
            (_, Some(other)) if !matches!(other, "public" | "private") => {
                Err(Error::InvalidParam(format!("no visibility is called {other}")))
            }
            (Some("private_chat"), _) => Ok(Self::PrivateChat),
            (Some("trusted_private_chat"), _) => Ok(Self::TrustedPrivateChat),
            (Some("public_chat"), _) | (None, Some("public")) => Ok(Self::PublicChat),
            (None, _) => Ok(Self::PrivateChat),
            (Some(other), _) => Err(Error::InvalidParam(format!("no preset is called {other}"))),
        }
    }

    fn state(self) -> [(&'static str, Value); 3] {
        let public = self == Self::PublicChat;
        let (join_rule, guests) = if public {
            ("public", "forbidden")
        } else {
            ("invite", "can_join")
        };
        [
            ("m.room.join_rules", json!({ "join_rule": join_rule })),
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "shared" }),
            ),
            ("m.room.guest_access", json!({ "guest_access": guests })),
        ]
    }
}

/// The topic, also in the form that newer clients read. Spec: Client-Server API, `m.room.topic`.
fn topic_content(topic: &str) -> Value {
    json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } })
}

fn invalid_state(error: Error) -> Error {
    match error {
        Error::Forbidden(reason) | Error::BadJson(reason) => Error::InvalidRoomState(reason),
        other => other,
    }
}

/// `value`, which is an object.
pub(crate) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
