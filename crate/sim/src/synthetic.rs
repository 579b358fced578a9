//! A made-up room with as many members as one likes, each with a signed membership event, and the server that
//! lets others into it.
//!
//! Nobody has ever been in the room: its events are made from a seed, without a homeserver. What is real are
//! keys, hashes and signatures, so any homeserver can join it through [`SyntheticRoom::answer`], and from then on
//! be the one through whom others join. It does *not* answer anything else: the servers of its members are
//! down for good. Works natively and in a browser.

use std::collections::BTreeMap;

use hearth_homeserver::Identity;
use hearth_rooms::{EventBuilder, Pdu, RoomVersion};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// When the room begins, in milliseconds since the Unix epoch.
const BEGINNING: u64 = 1_700_000_000_000;

/// A room, and its founder's server.
pub struct SyntheticRoom {
    version: RoomVersion,
    /// Its id.
    pub room_id: OwnedRoomId,
    servers: Vec<Identity>,
    /// The state without members: create event, power levels, join rules, history visibility, name.
    settings: Vec<Pdu>,
    /// The founder's membership, then those of the members.
    members: Vec<Pdu>,
}

/// What an event of a member is to be.
pub struct Utterance<'a> {
    /// Number of the member who sends it: 0 is the founder, who has all power.
    pub member: usize,
    /// The event type.
    pub kind: &'a str,
    /// The state key of a state event.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: Value,
    /// What it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// What it rests on beside the create event, the power levels and the sender's membership.
    pub auth_events: Vec<OwnedEventId>,
    /// Its depth.
    pub depth: u64,
}

impl SyntheticRoom {
    /// A public room of `members` members beside the founder, who are on `servers` servers beside the founder's.
    ///
    /// # Panics
    /// Never for a room version that can be made: the events are well-formed.
    #[must_use]
    pub fn new(seed: u64, version: RoomVersion, members: usize, servers: usize) -> Self {
        let servers = (0..=servers).map(|number| identity(seed, number)).collect();
        let mut room = Self {
            version,
            room_id: placeholder(),
            servers,
            settings: Vec::new(),
            members: Vec::new(),
        };
        room.found();
        (1..=members).for_each(|number| room.let_in(number));
        room
    }

    /// The name of the founder's server.
    #[must_use]
    pub fn founder_server(&self) -> &str {
        self.server_of(0).server_name()
    }

    /// How many members it has, the founder included.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The key and name of the server of member number `member`.
    ///
    /// # Panics
    /// Never: there always is the founder's server.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "the index is a remainder, or 0")]
    pub fn server_of(&self, member: usize) -> &Identity {
        match self.servers.len() - 1 {
            others if member > 0 && others > 0 => &self.servers[1 + (member - 1) % others],
            _ => &self.servers[0],
        }
    }

    /// The user id of member number `member`.
    #[must_use]
    pub fn user_id(&self, member: usize) -> OwnedUserId {
        user_id(&format!("m{member}"), self.server_of(member))
    }

    /// The state without the members.
    #[must_use]
    pub fn settings(&self) -> &[Pdu] {
        &self.settings
    }

    /// The memberships, in the order in which they came about.
    #[must_use]
    pub fn members(&self) -> &[Pdu] {
        &self.members
    }

    /// An event of a member, signed by their server.
    ///
    /// # Panics
    /// If the content is not canonical JSON.
    #[must_use]
    pub fn event(&self, utterance: Utterance<'_>) -> Pdu {
        let mut auth_events = self.auth_events(&["m.room.create", "m.room.power_levels"]);
        auth_events.extend(self.members.get(utterance.member).map(id));
        auth_events.extend(utterance.auth_events.iter().cloned());
        let prev_events = utterance.prev_events.clone();
        self.sign(&utterance, auth_events, prev_events)
    }

    /// What the founder's server answers to a request for `uri` with the body `body`, `GET /make_join` or
    /// `PUT /send_join`: the whole state, members and all. `None` for any other request.
    #[must_use]
    pub fn answer(&self, uri: &str, body: &Value) -> Option<Value> {
        let path = uri.split('?').next()?.strip_prefix("/_matrix/federation/")?;
        let (endpoint, rest) = path.split_once("/make_join/").map_or_else(
            || {
                path.split_once("/send_join/")
                    .map(|(_, rest)| ("send_join", rest))
            },
            |(_, rest)| Some(("make_join", rest)),
        )?;
        match endpoint {
            "make_join" => Some(self.template(rest.split('/').nth(1)?)),
            _ => Some(json!({
                "origin": self.founder_server(),
                "event": body,
                "state": self.settings.iter().chain(&self.members).map(Pdu::raw_json).collect::<Vec<_>>(),
                "auth_chain": self.settings.iter().chain(self.members.first()).map(Pdu::raw_json).collect::<Vec<_>>(),
                "members_omitted": false,
                "servers_in_room": self.servers.iter().map(Identity::server_name).collect::<Vec<_>>(),
            })),
        }
    }

    fn template(&self, user_id: &str) -> Value {
        let user_id = user_id.replace("%40", "@").replace("%3A", ":");
        json!({
            "room_version": self.version.as_str(),
            "event": {
                "type": "m.room.member", "room_id": self.room_id, "sender": user_id, "state_key": user_id,
                "content": {"membership": "join"}, "depth": self.members.len() + 10,
                "prev_events": self.members.last().map(id).into_iter().collect::<Vec<_>>(),
                "auth_events": self.auth_events(&["m.room.create", "m.room.power_levels", "m.room.join_rules"]),
            },
        })
    }

    fn found(&mut self) {
        let founder = self.user_id(0);
        let create = json!({"room_version": self.version.as_str(), "creator": founder});
        let create = self.set("m.room.create", "", create);
        self.room_id = create.room_id().to_owned();
        self.settings.push(create);
        let membership = self.set("m.room.member", founder.as_str(), json!({"membership": "join"}));
        self.members.push(membership);
        let with_power = match self.version.room_id_is_create_hash() {
            true => json!({}),
            false => json!({ founder.as_str(): 100 }),
        };
        for (kind, content) in [
            ("m.room.power_levels", json!({"users": with_power})),
            ("m.room.join_rules", json!({"join_rule": "public"})),
            (
                "m.room.history_visibility",
                json!({"history_visibility": "shared"}),
            ),
            ("m.room.name", json!({"name": "Synthetic"})),
        ] {
            let event = self.set(kind, "", content);
            self.settings.push(event);
        }
    }

    /// A state event of the founder, at the end of what there is.
    fn set(&self, kind: &str, state_key: &str, content: Value) -> Pdu {
        let utterance = Utterance {
            member: 0,
            kind,
            state_key: Some(state_key),
            content,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: self.depth() + 1,
        };
        let mut auth_events = self.auth_events(&["m.room.create", "m.room.power_levels"]);
        auth_events.extend(self.members.first().map(id));
        self.sign(&utterance, auth_events, self.last().into_iter().collect())
    }

    fn let_in(&mut self, member: usize) {
        let user_id = self.user_id(member);
        let utterance = Utterance {
            member,
            kind: "m.room.member",
            state_key: Some(user_id.as_str()),
            content: json!({"membership": "join", "displayname": format!("Member {member}")}),
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: self.depth() + 1,
        };
        let auth_events = self.auth_events(&["m.room.create", "m.room.power_levels", "m.room.join_rules"]);
        let join = self.sign(&utterance, auth_events, self.last().into_iter().collect());
        self.members.push(join);
    }

    #[allow(clippy::expect_used, reason = "what the room is made of is well-formed")]
    fn sign(
        &self,
        utterance: &Utterance<'_>,
        auth_events: Vec<OwnedEventId>,
        prev_events: Vec<OwnedEventId>,
    ) -> Pdu {
        let is_create = utterance.kind == "m.room.create";
        let names_room = !is_create || !self.version.room_id_is_create_hash();
        let content = match &utterance.content {
            Value::Object(content) => content.clone(),
            _ => Map::new(),
        };
        let builder = EventBuilder {
            room_id: names_room.then(|| self.room_id.clone()),
            sender: self.user_id(utterance.member),
            event_type: TimelineEventType::from(utterance.kind),
            state_key: utterance.state_key.map(str::to_owned),
            content,
            redacts: None,
            prev_events,
            auth_events,
            reference_hashes: BTreeMap::new(),
            depth: utterance.depth,
            origin_server_ts: BEGINNING + utterance.depth,
        };
        let server = self.server_of(utterance.member);
        let event = builder.build(self.version, server.server_name(), server.key_pair());
        event.expect("the event is well-formed")
    }

    /// The settings of `kinds` that there are, as auth events.
    fn auth_events(&self, kinds: &[&str]) -> Vec<OwnedEventId> {
        let implied = self.version.room_id_is_create_hash();
        let listed = self.settings.iter().filter(|event| {
            let kind = event.event_type().to_string();
            kinds.contains(&kind.as_str()) && !(implied && kind == "m.room.create")
        });
        listed.map(id).collect()
    }

    fn last(&self) -> Option<OwnedEventId> {
        let events = self.settings.iter().chain(&self.members);
        events.max_by_key(|event| event.depth()).map(id)
    }

    fn depth(&self) -> u64 {
        (self.settings.len() + self.members.len()) as u64
    }
}

fn id(event: &Pdu) -> OwnedEventId {
    event.event_id().to_owned()
}

#[allow(clippy::expect_used, reason = "any 32 bytes are a key")]
fn identity(seed: u64, number: usize) -> Identity {
    let hash = Sha256::new()
        .chain_update("synthetic room")
        .chain_update(seed.to_be_bytes())
        .chain_update((number as u64).to_be_bytes());
    Identity::from_seed(hash.finalize().into()).expect("any 32 bytes are a key")
}

#[allow(clippy::expect_used, reason = "the name is a key in hex digits")]
fn user_id(name: &str, server: &Identity) -> OwnedUserId {
    UserId::parse(format!("@{name}:{}", server.server_name())).expect("it is a user id")
}

#[allow(clippy::expect_used, reason = "it is a constant")]
fn placeholder() -> OwnedRoomId {
    RoomId::parse("!synthetic:synthetic").expect("it is a room id")
}
