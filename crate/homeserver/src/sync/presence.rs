//! Who came and went, in an answer of `/sync`. Spec: Client-Server API, section 'Presence'.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use futures::future::try_join_all;
use ruma_common::{OwnedUserId, UserId};
use serde_json::Value;

use super::{Context, changes::Changes, event, response::Events};
use crate::{Error, Homeserver};

/// The most users that one answer tells of.
const MAX_TOLD: usize = 1000;
/// Of how many users it is looked up at once whether they share a room with the user.
const AT_ONCE: usize = 64;

impl Homeserver {
    /// The presence of those who share a room with the user, as far as it is news.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn presence_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
    ) -> Result<Events, Error> {
        let filter = &context.request.filter.presence;
        if !filter.allows_type("m.presence") {
            return Ok(Events::default());
        }
        let mut users = self.moved(context, changes);
        users.retain(|user_id| filter.allows_sender(user_id.as_str()));
        let limit = filter.limit.and_then(|limit| usize::try_from(limit).ok());
        let users = self
            .sharing(
                context.viewer.user_id,
                users,
                limit.unwrap_or(MAX_TOLD).min(MAX_TOLD),
            )
            .await?;
        let now = self.now();
        let events = users.iter().filter_map(|user_id| {
            let content = self.presence.content(user_id, now)?;
            let mut presence = event("m.presence", Value::Object(content));
            presence.insert("sender".into(), user_id.as_str().into());
            Some(presence)
        });
        Ok(events.collect::<Vec<_>>().into())
    }

    /// Whose presence may be news to the client.
    fn moved(&self, context: &Context<'_>, changes: &Changes) -> BTreeSet<OwnedUserId> {
        let Some(from) = context.from.filter(|_| !context.whole) else {
            return ordered::set(self.presence.present());
        };
        let mut users: BTreeSet<_> = ordered::set(self.presence.changed_since(from.presence));
        let members = &changes.lists.members;
        if members.is_empty() && changes.lists.rooms.is_empty() {
            return users;
        }
        let came = |user_id: &UserId| members.iter().any(|(_, member, _)| member == user_id);
        let all = came(context.viewer.user_id) || !changes.lists.rooms.is_empty();
        let present = self.presence.present().into_iter();
        users.extend(present.filter(|user_id| all || came(user_id)));
        users
    }

    /// The first of `users` who share a room with the user, or are the user.
    async fn sharing(
        &self,
        user_id: &UserId,
        users: BTreeSet<OwnedUserId>,
        limit: usize,
    ) -> Result<Vec<OwnedUserId>, Error> {
        let users: Vec<_> = users.into_iter().collect();
        let mut sharing = Vec::new();
        for some in users.chunks(AT_ONCE) {
            let shares = some.iter().map(|other| async move {
                Ok::<_, Error>(other == user_id || self.shares_room(user_id, other).await?)
            });
            let shares = try_join_all(shares).await?;
            let found = some.iter().zip(shares).filter(|(_, shares)| *shares);
            sharing.extend(found.map(|(other, _)| other.clone()));
            if sharing.len() >= limit {
                break;
            }
        }
        sharing.truncate(limit);
        Ok(sharing)
    }
}
