//! What users do in an episode, as requests of the client-server API.

use std::fmt;

use hearth_homeserver::RoomVersion;
use serde_json::{Value, json};

use crate::{Client, World, client::encode, random::Random};

/// The join rules that are set. Versions that do not know one take it for `invite`.
const JOIN_RULES: [&str; 6] = [
    "public",
    "public",
    "invite",
    "restricted",
    "knock",
    "knock_restricted",
];
/// The history visibilities that are set.
const VISIBILITIES: [&str; 4] = ["shared", "shared", "joined", "invited"];
/// The state that anybody may set.
const KINDS: [&str; 3] = ["m.room.topic", "m.room.name", "hearth.test"];
/// The power levels that are given.
const LEVELS: [i64; 4] = [0, 25, 50, 100];

/// Something that a user does. Users, servers and events are meant by number, so that an operation keeps its
/// sense when others are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sends a message.
    Send,
    /// Sets one of a few kinds of state to something new.
    SetState(usize),
    /// Gives a user a power level.
    SetPower(usize, usize),
    /// Removes a user.
    Kick(usize),
    /// Bans a user.
    Ban(usize),
    /// Lifts a ban.
    Unban(usize),
    /// Invites a user.
    Invite(usize),
    /// Joins by way of these servers.
    Join(Vec<usize>),
    /// Knocks by way of these servers.
    Knock(Vec<usize>),
    /// Leaves, rejects an invite or takes back a knock.
    Leave,
    /// Redacts the message that was sent so many messages ago.
    Redact(usize),
    /// Sets who may join.
    SetJoinRule(usize),
    /// Sets who may see history.
    SetVisibility(usize),
    /// Replaces the room by a new one, of a version of this number.
    Upgrade(usize),
    /// Asks what is new.
    Sync,
}

/// A request of the client-server API.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Null for none.
    pub(crate) body: Value,
}

/// What an operation refers to.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) users: &'a [Client],
    pub(crate) room_id: &'a str,
    /// A room whose members may come in where the join rule is `restricted`.
    pub(crate) lobby: &'a str,
    /// Where the user's last `/sync` ended.
    pub(crate) since: Option<&'a str>,
    /// The ids of the messages sent so far.
    pub(crate) sent: &'a [String],
    /// A number that no other step has.
    pub(crate) step: usize,
}

impl Operation {
    /// Something that one of `users` users on one of `servers` servers may do.
    pub(crate) fn random(random: &Random, users: usize, servers: usize) -> Self {
        let user = || random.index(users);
        match random.index(110) {
            0..32 => Self::Send,
            32..46 => Self::SetState(random.index(KINDS.len())),
            46..53 => Self::SetPower(user(), random.index(LEVELS.len())),
            53..58 => Self::Kick(user()),
            58..62 => Self::Ban(user()),
            62..66 => Self::Unban(user()),
            66..72 => Self::Invite(user()),
            72..83 => Self::Join(some_servers(random, servers)),
            83..86 => Self::Knock(some_servers(random, servers)),
            86..90 => Self::Leave,
            90..95 => Self::Redact(random.index(6)),
            95..99 => Self::SetJoinRule(random.index(JOIN_RULES.len())),
            99..102 => Self::SetVisibility(random.index(VISIBILITIES.len())),
            102 => Self::Upgrade(random.index(RoomVersion::ALL.len())),
            _ => Self::Sync,
        }
    }

    /// The request that `user` makes for it; `None` if it makes no sense now.
    pub(crate) fn request(&self, user: usize, scene: &Scene<'_>) -> Option<Request> {
        let target = |number: &usize| Some(json!({ "user_id": scene.users.get(*number)?.user_id }));
        let room = format!("/rooms/{}", encode(scene.room_id));
        Some(match self {
            Self::Send => put(
                format!("{room}/send/m.room.message/{}", scene.step),
                json!({"msgtype": "m.text", "body": format!("message {}", scene.step)}),
            ),
            Self::SetState(kind) => put(
                format!("{room}/state/{}/", KINDS.get(*kind)?),
                json!({"topic": format!("{}", scene.step), "name": format!("{}", scene.step)}),
            ),
            Self::SetPower(target, level) => {
                let content = with_power(user, *target, *LEVELS.get(*level)?, scene)?;
                put(format!("{room}/state/m.room.power_levels/"), content)
            }
            Self::Kick(user) => post(format!("{room}/kick"), target(user)?),
            Self::Ban(user) => post(format!("{room}/ban"), target(user)?),
            Self::Unban(user) => post(format!("{room}/unban"), target(user)?),
            Self::Invite(user) => post(format!("{room}/invite"), target(user)?),
            Self::Join(servers) => post(by_way_of("join", servers, scene), json!({})),
            Self::Knock(servers) => post(by_way_of("knock", servers, scene), json!({})),
            Self::Leave => post(format!("{room}/leave"), json!({})),
            Self::Redact(ago) => {
                let target = scene.sent.iter().rev().nth(*ago)?;
                put(
                    format!("{room}/redact/{}/{}", encode(target), scene.step),
                    json!({}),
                )
            }
            Self::SetJoinRule(rule) => put(
                format!("{room}/state/m.room.join_rules/"),
                json!({
                    "join_rule": JOIN_RULES.get(*rule)?,
                    "allow": [{"type": "m.room_membership", "room_id": scene.lobby}],
                }),
            ),
            Self::SetVisibility(visibility) => put(
                format!("{room}/state/m.room.history_visibility/"),
                json!({"history_visibility": VISIBILITIES.get(*visibility)?}),
            ),
            Self::Upgrade(version) => post(
                format!("{room}/upgrade"),
                json!({"new_version": RoomVersion::ALL.get(*version)?.as_str()}),
            ),
            Self::Sync => {
                let since = scene.since.map(|since| format!("&since={}", encode(since)));
                Request {
                    method: "GET",
                    path: format!("/sync?timeout=0{}", since.unwrap_or_default()),
                    body: Value::Null,
                }
            }
        })
    }
}

fn some_servers(random: &Random, servers: usize) -> Vec<usize> {
    (0..3).map(|_| random.index(servers)).collect()
}

/// The path that joins or knocks by way of `servers`.
fn by_way_of(endpoint: &str, servers: &[usize], scene: &Scene<'_>) -> String {
    let via = servers.iter().map(|server| scene.world.server(*server).name());
    let via: Vec<_> = via.map(|name| format!("via={name}")).collect();
    format!("/{endpoint}/{}?{}", encode(scene.room_id), via.join("&"))
}

/// The power levels as `user` sees them, with those of `target` changed.
fn with_power(user: usize, target: usize, level: i64, scene: &Scene<'_>) -> Option<Value> {
    let client = scene.users.get(user)?;
    let path = format!("/rooms/{}/state/m.room.power_levels/", encode(scene.room_id));
    let answer = client.get(scene.world, &path);
    let mut content = answer.body;
    let users = content.get_mut("users")?.as_object_mut()?;
    users.insert(scene.users.get(target)?.user_id.clone(), level.into());
    Some(content)
}

fn put(path: String, body: Value) -> Request {
    let method = "PUT";
    Request { method, path, body }
}

fn post(path: String, body: Value) -> Request {
    let method = "POST";
    Request { method, path, body }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send => write!(formatter, "sends a message"),
            Self::SetState(kind) => write!(formatter, "sets {}", KINDS.get(*kind).unwrap_or(&"")),
            Self::SetPower(user, level) => {
                let level = LEVELS.get(*level).unwrap_or(&0);
                write!(formatter, "gives user{user} power {level}")
            }
            Self::Kick(user) => write!(formatter, "kicks user{user}"),
            Self::Ban(user) => write!(formatter, "bans user{user}"),
            Self::Unban(user) => write!(formatter, "unbans user{user}"),
            Self::Invite(user) => write!(formatter, "invites user{user}"),
            Self::Join(servers) => write!(formatter, "joins through {servers:?}"),
            Self::Knock(servers) => write!(formatter, "knocks through {servers:?}"),
            Self::Leave => write!(formatter, "leaves"),
            Self::Redact(ago) => write!(formatter, "redacts the message {ago} before the last"),
            Self::SetJoinRule(rule) => {
                write!(
                    formatter,
                    "sets the join rule {}",
                    JOIN_RULES.get(*rule).unwrap_or(&"")
                )
            }
            Self::SetVisibility(index) => {
                let visibility = VISIBILITIES.get(*index).unwrap_or(&"");
                write!(formatter, "makes history visible as {visibility}")
            }
            Self::Upgrade(version) => {
                let version = RoomVersion::ALL
                    .get(*version)
                    .map_or("", |version| version.as_str());
                write!(formatter, "replaces the room by one of version {version}")
            }
            Self::Sync => write!(formatter, "asks what is new"),
        }
    }
}
