//! Presence between servers: `m.presence` EDUs.
//!
//! Other servers are told at most once in [`PAUSE`] of all that has changed; a newer word about a user takes the
//! place of one that still waits.

use std::time::Duration;

use ruma_common::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MAX_STATUS, PresenceState};
use crate::{Error, Homeserver, JsonObject};

/// How often other servers are told.
const PAUSE: Duration = Duration::from_secs(5);
/// The most users of one EDU that are looked at.
const MAX_PUSHES: usize = 100;

/// What an EDU says of a user.
#[derive(Deserialize)]
struct Push {
    user_id: OwnedUserId,
    presence: PresenceState,
    #[serde(default)]
    status_msg: Option<String>,
    #[serde(default)]
    last_active_ago: Option<u64>,
    #[serde(default)]
    currently_active: bool,
}

impl Homeserver {
    /// Takes in an `m.presence` EDU. What is malformed, or about users who are not of `origin` or in no room with
    /// a user of this server, is passed over.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_presence(&self, origin: &ServerName, content: &JsonObject) -> Result<(), Error> {
        let pushes = content.get("push").and_then(Value::as_array);
        if !self.presence.enabled {
            return Ok(());
        }
        for push in pushes.into_iter().flatten().take(MAX_PUSHES) {
            let Ok(push) = Push::deserialize(push) else {
                continue;
            };
            if push.user_id.server_name() == origin && self.is_known_user(&push.user_id).await? {
                self.note_push(push);
            }
        }
        Ok(())
    }

    fn note_push(&self, push: Push) {
        let is_local = |user_id: &UserId| self.is_local(user_id);
        if !self.presence.people().has_room_for(&push.user_id, is_local) {
            return;
        }
        let now = self.now();
        self.presence.change(&push.user_id, now, |person| {
            person.state = push.presence;
            person.currently_active = push.currently_active && push.presence == PresenceState::Online;
            person.status_msg = push
                .status_msg
                .filter(|text| !text.is_empty() && text.len() <= MAX_STATUS);
            if let Some(ago) = push.last_active_ago {
                person.last_active = now.saturating_sub(ago);
            }
            person.heard = now;
        });
    }

    /// Tells other servers of local users, soon.
    pub(super) fn tell_servers(&self, users: impl IntoIterator<Item = OwnedUserId>) {
        let start = {
            let mut people = self.presence.people();
            people.untold.extend(users);
            !people.untold.is_empty() && !std::mem::replace(&mut people.telling, true)
        };
        if start {
            self.spawn(|homeserver| async move { homeserver.tell_untold().await });
        }
    }

    /// Tells the servers of a room's members of a user who has just come in.
    pub(crate) fn tell_presence(&self, user_id: &UserId) {
        let is_there = self
            .presence
            .people()
            .users
            .get(user_id)
            .is_some_and(super::person::Person::has_devices);
        if is_there {
            self.tell_servers([user_id.to_owned()]);
        }
    }

    async fn tell_untold(&self) {
        loop {
            let untold = {
                let mut people = self.presence.people();
                if people.untold.is_empty() {
                    people.telling = false;
                    return;
                }
                std::mem::take(&mut people.untold)
            };
            for user_id in untold {
                if let Err(error) = self.tell_of(&user_id).await {
                    tracing::warn!(%user_id, %error, "other servers are not told of a user's presence");
                }
            }
            self.seams.clock.sleep(PAUSE).await;
        }
    }

    async fn tell_of(&self, user_id: &UserId) -> Result<(), Error> {
        let servers = self.servers_sharing(user_id).await?;
        let now = self.now();
        let content = {
            let mut people = self.presence.people();
            let Some(person) = people.users.get_mut(user_id) else {
                return Ok(());
            };
            person.heard = now;
            person.content(now)
        };
        let mut push = content;
        push.entry("last_active_ago").or_insert_with(|| 0.into());
        push.insert("user_id".into(), user_id.as_str().into());
        let content = JsonObject::from_iter([("push".to_owned(), json!([push]))]);
        for server in servers {
            self.send_edu_to(&server, PRESENCE, user_id.as_str(), &content);
        }
        Ok(())
    }
}

/// The type of the EDU.
const PRESENCE: &str = "m.presence";

/// The EDUs of a transaction, those about presence as one.
pub(crate) fn together<'a>(
    edus: impl IntoIterator<Item = (&'a (String, String), &'a JsonObject)>,
) -> Vec<Value> {
    let (mut others, mut pushes) = (Vec::new(), Vec::new());
    for ((kind, _), content) in edus {
        match content.get("push").and_then(Value::as_array) {
            Some(push) if kind == PRESENCE => pushes.extend(push.iter().cloned()),
            _ => others.push(json!({"edu_type": kind, "content": content})),
        }
    }
    if !pushes.is_empty() {
        others.push(json!({"edu_type": PRESENCE, "content": {"push": pushes}}));
    }
    others
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_said_of_several_users_is_one_edu() {
        let edu = |kind: &str, key: &str, content: Value| {
            let content = content.as_object().cloned().unwrap_or_default();
            ((kind.to_owned(), key.to_owned()), content)
        };
        let edus = BTreeMap::from([
            edu(PRESENCE, "@a:x", json!({"push": [{"user_id": "@a:x"}]})),
            edu(PRESENCE, "@b:x", json!({"push": [{"user_id": "@b:x"}]})),
            edu("m.typing", "", json!({"room_id": "!r:x"})),
        ]);
        let expected = json!([
            {"edu_type": "m.typing", "content": {"room_id": "!r:x"}},
            {"edu_type": "m.presence", "content": {"push": [{"user_id": "@a:x"}, {"user_id": "@b:x"}]}},
        ]);
        assert_eq!(Value::Array(together(&edus)), expected);
    }
}
