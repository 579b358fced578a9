//! Who may see which event. Spec: Client-Server API, section 'Room history visibility'.

use std::{collections::HashMap, sync::Arc};

use ruma_common::{OwnedEventId, RoomId, ServerName, UserId};

use crate::{
    Error, Homeserver,
    rooms::{
        append::removed_server,
        event::StoredEvent,
        memberships::UserMembership,
        view::{HISTORY_VISIBILITY, member},
    },
};

impl Homeserver {
    /// Those of `events` that `user_id` may see and does not ignore, in order.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn visible_events(
        &self,
        user_id: &UserId,
        events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let refusals = self.refusals(user_id).await?;
        let mut seen = HashMap::new();
        let mut visible = Vec::with_capacity(events.len());
        for event in events {
            if event.is_shown() && !refusals.hides(&event) && self.may_see(user_id, &event, &mut seen).await?
            {
                visible.push(event);
            }
        }
        Ok(visible)
    }

    /// Whether the user may know the state that `event` led to.
    pub(crate) async fn may_know_state(&self, user_id: &UserId, event: &StoredEvent) -> Result<bool, Error> {
        self.may_see(user_id, event, &mut Seen::new()).await
    }

    async fn may_see(&self, user_id: &UserId, event: &StoredEvent, seen: &mut Seen) -> Result<bool, Error> {
        let moment = match &event.decision.state_before {
            Some(root) => match seen.get(root) {
                Some(moment) => moment.clone(),
                None => {
                    let moment = self.moment(root, user_id).await?;
                    seen.insert(root.clone(), moment.clone());
                    moment
                }
            },
            None => self.unknown_moment(event, user_id).await?,
        };
        let now = self.user_membership(user_id, event.room_id());
        Ok(moment
            .and_after(event, user_id)
            .allows(event.decision.order, now.as_ref()))
    }

    /// What the state `root` says about who may see.
    async fn moment(&self, root: &str, user_id: &UserId) -> Result<Moment, Error> {
        let state = self.view_at(root, &[HISTORY_VISIBILITY, member(user_id)]).await?;
        let mut moment = Moment::default();
        state.iter().for_each(|event| moment.note(event));
        Ok(moment)
    }

    /// The moment of an event before which the state is not known: as now, but that who is joined now was not
    /// before they joined.
    async fn unknown_moment(&self, event: &StoredEvent, user_id: &UserId) -> Result<Moment, Error> {
        let Some(room) = self.room(event.room_id()).await? else {
            return Ok(Moment::default());
        };
        let now = self.moment(&room.snapshot().record.state, user_id).await?;
        let joined = self
            .user_membership(user_id, event.room_id())
            .and_then(|row| row.joined_at);
        let since = joined.zip(event.decision.order);
        let was_there = since.is_some_and(|(joined, order)| order >= joined.cast_signed());
        Ok(Moment {
            membership: now.membership.filter(|_| was_there),
            ..now
        })
    }

    /// Whether any user of `server` may see `event`. Where it is not known who was in the room then, only what is shared
    /// with all who come later is seen. Spec: Server-Server API, section 'Backfilling'.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn server_may_see(&self, server: &ServerName, event: &StoredEvent) -> Result<bool, Error> {
        let Some(root) = &event.decision.state_before else {
            return self.is_shared(event.room_id()).await;
        };
        let state = self.view_at(root, &[HISTORY_VISIBILITY]).await?;
        let visibility = state.text(HISTORY_VISIBILITY, "history_visibility");
        if !matches!(visibility, Some("invited" | "joined")) {
            return Ok(true);
        }
        if event.decision.partial
            && let Some(partial) = self.partial.get(event.room_id())
            && partial.servers.contains(server)
        {
            // It was in the room when this server joined; who of its users is, is not known yet.
            return Ok(true);
        }
        let members = self.members_of(server, root).await?;
        let allowed = |event: &Arc<StoredEvent>| match event.content_text("membership") {
            Some("join") => true,
            Some("invite") => visibility == Some("invited"),
            _ => false,
        };
        Ok(members.iter().any(allowed) || removed_server(event).as_deref() == Some(server))
    }

    /// Whether, as things are now, whoever comes into the room may see what was said before.
    pub(crate) async fn is_shared(&self, room_id: &RoomId) -> Result<bool, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(false);
        };
        let state = self.view(&room.snapshot(), &[HISTORY_VISIBILITY]).await?;
        let visibility = state.text(HISTORY_VISIBILITY, "history_visibility");
        Ok(!matches!(visibility, Some("invited" | "joined")))
    }

    /// Whether a user of `server` was joined when `event` happened.
    pub(crate) async fn was_joined(&self, server: &ServerName, event: &StoredEvent) -> Result<bool, Error> {
        let Some(root) = &event.decision.state_before else {
            return Ok(false);
        };
        let members = self.members_of(server, root).await?;
        let mut memberships = members.iter().map(|member| member.content_text("membership"));
        Ok(memberships.any(|membership| membership == Some("join")))
    }

    /// The membership events of the users of `server` in the state `root`.
    async fn members_of(&self, server: &ServerName, root: &str) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let members = self.tree_of_type(root, "m.room.member").await?;
        let on_server = |(user, _): &(String, OwnedEventId)| {
            UserId::parse(user.as_str()).is_ok_and(|user| user.server_name() == server)
        };
        let ids = members
            .into_iter()
            .filter(on_server)
            .map(|(_, event_id)| event_id);
        self.stored_events(&ids.collect::<Vec<_>>()).await
    }
}

/// Moments by state root.
type Seen = HashMap<String, Moment>;

/// What a state of the room says about whether one user may see.
#[derive(Clone, Debug, Default)]
struct Moment {
    visibility: Option<String>,
    membership: Option<String>,
}

impl Moment {
    fn note(&mut self, event: &StoredEvent) {
        if event.kind() == "m.room.member" {
            self.membership = event.content_text("membership").map(str::to_owned);
        } else {
            self.visibility = event.content_text("history_visibility").map(str::to_owned);
        }
    }

    /// The moment of `event`: for an event that changes the matter, whichever of before and after shows more.
    fn and_after(mut self, event: &StoredEvent, user_id: &UserId) -> Self {
        if event.kind() == "m.room.history_visibility" && event.state_key() == Some("") {
            let after = event.content_text("history_visibility");
            if openness(after) > openness(self.visibility.as_deref()) {
                self.visibility = after.map(str::to_owned);
            }
        }
        if event.kind() == "m.room.member" && event.state_key() == Some(user_id.as_str()) {
            let after = event.content_text("membership");
            if self.membership.as_deref() != Some("join") && after != Some("leave") {
                self.membership = after.map(str::to_owned);
            }
        }
        self
    }

    fn allows(&self, order: Option<i64>, now: Option<&UserMembership>) -> bool {
        let joined = self.membership.as_deref() == Some("join");
        match self.visibility.as_deref() {
            Some("world_readable") => true,
            // Who has forgotten the room sees no more of it.
            _ if joined => now.is_some(),
            Some("joined") => false,
            Some("invited") => self.membership.as_deref() == Some("invite") && now.is_some(),
            _ => now.is_some_and(|now| joined_after(order, now)),
        }
    }
}

/// Whether the user is joined, or was once after the event: then shared history is shown.
fn joined_after(order: Option<i64>, now: &UserMembership) -> bool {
    let last_joined = now.joined_at.map(u64::cast_signed);
    now.membership == "join" || last_joined.is_some_and(|joined| order.is_none_or(|order| order <= joined))
}

fn openness(visibility: Option<&str>) -> u8 {
    match visibility {
        Some("world_readable") => 3,
        Some("invited") => 1,
        Some("joined") => 0,
        _ => 2,
    }
}
