//! Finding users by name. Spec: Client-Server API, section 'User Directory'.

use std::collections::BTreeMap;

use ruma_common::{OwnedUserId, UserId};
use serde_json::Value;

use crate::{Error, Homeserver, JsonObject};

/// The most users that one search looks at.
const MAX_SEARCHED: usize = 10_000;

/// A user that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The user.
    pub user_id: OwnedUserId,
    /// `displayname` and `avatar_url`, as far as known.
    pub profile: JsonObject,
}

impl Homeserver {
    /// At most `limit` users whose id or display name contains `term`, in any case, and whether there are
    /// more. Searched are the users of this server and all that share a room with `user_id`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn search_users(
        &self,
        user_id: &UserId,
        term: &str,
        limit: usize,
    ) -> Result<(Vec<FoundUser>, bool), Error> {
        let term = term.to_lowercase();
        let known = self.known_users(user_id).await?;
        let mut found: Vec<FoundUser> = known
            .into_iter()
            .map(|(user_id, profile)| FoundUser { user_id, profile })
            .filter(|user| user.matches(&term))
            .take(limit.saturating_add(1))
            .collect();
        let limited = found.len() > limit;
        found.truncate(limit);
        Ok((found, limited))
    }

    async fn known_users(&self, user_id: &UserId) -> Result<BTreeMap<OwnedUserId, JsonObject>, Error> {
        let mut known = BTreeMap::new();
        for room_id in self.joined_rooms(user_id) {
            for member in self.known_members(user_id, &room_id).await? {
                let joined = member.content().get("membership").and_then(Value::as_str) == Some("join");
                let state_key = member
                    .state_key()
                    .and_then(|state_key| UserId::parse(state_key).ok());
                if let Some(state_key) = state_key.filter(|_| joined) {
                    known.insert(state_key, shown(member.content()));
                }
                if known.len() >= MAX_SEARCHED {
                    return Ok(known);
                }
            }
        }
        for user_id in self.users().await?.into_iter().take(MAX_SEARCHED) {
            let profile = self.local_profile(&user_id).await?;
            known.insert(user_id, shown(&profile));
        }
        Ok(known)
    }
}

impl FoundUser {
    fn matches(&self, term: &str) -> bool {
        let name = self
            .profile
            .get("displayname")
            .and_then(Value::as_str)
            .unwrap_or_default();
        name.to_lowercase().contains(term) || self.user_id.as_str().to_lowercase().contains(term)
    }
}

/// The public fields of a profile or membership.
fn shown(content: &JsonObject) -> JsonObject {
    let fields = ["displayname", "avatar_url"].into_iter();
    let texts =
        fields.filter_map(|field| Some((field, content.get(field).filter(|value| value.is_string())?)));
    texts
        .map(|(field, value)| (field.to_owned(), value.clone()))
        .collect()
}
