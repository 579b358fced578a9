//! What users do in an episode, as requests of the client-server API.

use std::fmt;

use serde_json::{Value, json};

use crate::{Client, World, client::encode, random::Random};

/// The join rules that are set.
const JOIN_RULES: [&str; 2] = ["public", "invite"];
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
    /// Leaves, or rejects an invite.
    Leave,
    /// Redacts the message that was sent so many messages ago.
    Redact(usize),
    /// Sets who may join.
    SetJoinRule(usize),
    /// Sets who may see history.
    SetVisibility(usize),
}

/// A request of the client-server API.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What an operation refers to.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) users: &'a [Client],
    pub(crate) room_id: &'a str,
    /// The ids of the messages sent so far.
    pub(crate) sent: &'a [String],
    /// A number that no other step has.
    pub(crate) step: usize,
}

impl Operation {
    /// Something that one of `users` users on one of `servers` servers may do.
    pub(crate) fn random(random: &Random, users: usize, servers: usize) -> Self {
        let user = || random.index(users);
        match random.index(100) {
            0..32 => Self::Send,
            32..46 => Self::SetState(random.index(KINDS.len())),
            46..53 => Self::SetPower(user(), random.index(LEVELS.len())),
            53..58 => Self::Kick(user()),
            58..63 => Self::Ban(user()),
            63..68 => Self::Unban(user()),
            68..74 => Self::Invite(user()),
            74..85 => Self::Join((0..3).map(|_| random.index(servers)).collect()),
            85..89 => Self::Leave,
            89..94 => Self::Redact(random.index(6)),
            94..97 => Self::SetJoinRule(random.index(JOIN_RULES.len())),
            _ => Self::SetVisibility(random.index(VISIBILITIES.len())),
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
            Self::Join(servers) => {
                let via = servers.iter().map(|server| scene.world.server(*server).name());
                let via: Vec<_> = via.map(|name| format!("via={name}")).collect();
                post(
                    format!("/join/{}?{}", encode(scene.room_id), via.join("&")),
                    json!({}),
                )
            }
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
                json!({"join_rule": JOIN_RULES.get(*rule)?}),
            ),
            Self::SetVisibility(visibility) => put(
                format!("{room}/state/m.room.history_visibility/"),
                json!({"history_visibility": VISIBILITIES.get(*visibility)?}),
            ),
        })
    }
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
        }
    }
}
