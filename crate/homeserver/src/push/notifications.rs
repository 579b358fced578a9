//! What a user was, or would have been, notified of. Spec: Client-Server API, section 'Listing Notifications'.
//!
//! Nothing is stored for it: the log is read backwards, and the push rules are applied as they are now. What they
//! said at the time is *not* known.

use std::{collections::HashMap, sync::Arc};

use hearth_rooms::client_event::ClientEvent;
use ruma_common::{OwnedRoomId, UserId, push::Action};
use serde::Serialize;

use super::evaluation::actions;
use crate::{
    Error, Homeserver, LogEntry,
    policy::Refusals,
    rooms::{client_event::Viewer, event::StoredEvent, memberships::UserMembership},
};

/// The number of notifications if the request does not say.
const DEFAULT_LIMIT: usize = 20;
/// The greatest number of them, whatever the request says.
const MAX_LIMIT: usize = 100;
/// How many log entries are read at once.
const PAGE: usize = 200;
/// How many times they are read for one answer.
const MAX_READS: usize = 25;

/// A page of notifications, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct Notifications {
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    /// The notifications, newest first.
    pub notifications: Vec<Notification>,
}

/// One notification, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct Notification {
    /// What the push rules say.
    pub actions: Vec<Action>,
    /// The event.
    pub event: ClientEvent,
    /// Whether the user has read it.
    pub read: bool,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub ts: u64,
}

impl Homeserver {
    /// A page of what `viewer` was notified of in the rooms that they are in, from what an earlier answer said to go
    /// on from; with `highlights`, of highlights alone.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if `from` is none of ours.
    pub async fn notifications(
        &self,
        viewer: Viewer<'_>,
        from: Option<&str>,
        limit: Option<usize>,
        highlights: bool,
    ) -> Result<Notifications, Error> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let mut before = match from {
            Some(from) => from
                .parse()
                .map_err(|_| Error::InvalidParam(format!("{from:?} is no token")))?,
            None => self.log.current().saturating_add(1),
        };
        let refusals = self.refusals(viewer.user_id).await?;
        let mut notifications = Vec::new();
        let mut bytes = 0;
        for _ in 0..MAX_READS {
            let page = self.log.before(before, PAGE).await?;
            let is_last = page.len() < PAGE;
            for event in self.notifying(viewer.user_id, &refusals, &page).await? {
                let position = event.decision.order.unwrap_or_default().cast_unsigned();
                self.give_way_after(&mut bytes, &event).await;
                let Some(notification) = self.notification(viewer, &event).await? else {
                    continue;
                };
                if highlights && !notification.actions.iter().any(Action::is_highlight) {
                    continue;
                }
                if notifications.len() == limit {
                    return Ok(Notifications {
                        next_token: Some(before.to_string()),
                        notifications,
                    });
                }
                notifications.push(notification);
                before = position;
            }
            match page.last() {
                Some((position, _)) if !is_last => before = *position,
                _ => {
                    return Ok(Notifications {
                        next_token: None,
                        notifications,
                    });
                }
            }
        }
        Ok(Notifications {
            next_token: Some(before.to_string()),
            notifications,
        })
    }

    /// The events among `entries` that may notify the user: what was said since they joined, and what they were invited by.
    async fn notifying(
        &self,
        user_id: &UserId,
        refusals: &Refusals,
        entries: &[(u64, LogEntry)],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut rooms = HashMap::<&OwnedRoomId, Option<UserMembership>>::new();
        let mut ids = Vec::new();
        for (position, entry) in entries {
            let LogEntry::Event {
                room_id,
                event_id,
                member,
            } = entry
            else {
                continue;
            };
            let membership = rooms
                .entry(room_id)
                .or_insert_with(|| self.user_membership(user_id, room_id));
            let is_told = |own: &UserMembership| {
                let is_own = member.as_deref() == Some(user_id);
                own.membership == "join" && (is_own || own.joined_at <= Some(*position))
            };
            if membership.as_ref().is_some_and(is_told) {
                ids.push(event_id.clone());
            }
        }
        let mut events = self.stored_events(&ids).await?;
        events.retain(|event| {
            let is_redacted = event.decision.redacted_by.is_some();
            event.is_shown() && !is_redacted && event.sender() != user_id && !refusals.hides(event)
        });
        Ok(events)
    }

    /// The notification of `event`, if the push rules want one and the user may see it.
    async fn notification(
        &self,
        viewer: Viewer<'_>,
        event: &Arc<StoredEvent>,
    ) -> Result<Option<Notification>, Error> {
        let Some(room) = self.room(event.room_id()).await? else {
            return Ok(None);
        };
        let (snapshot, rules) = (room.snapshot(), self.push_rules(viewer.user_id).await?);
        let context = self.push_context(viewer.user_id, &snapshot).await?;
        let json = super::unread::json(event);
        let Some(actions) = actions(&rules, viewer.user_id, &json, &context.conditions()) else {
            return Ok(None);
        };
        let shown = self.visible_events(viewer.user_id, vec![event.clone()]).await?;
        let Some(shown) = self.client_events(&shown, viewer).await?.pop() else {
            return Ok(None);
        };
        Ok(Some(Notification {
            actions,
            event: shown,
            read: self.has_read(viewer.user_id, event).await?,
            room_id: event.room_id().to_owned(),
            ts: event.origin_server_ts(),
        }))
    }
}
