//! Who may see which event, worked out anew from the graph and the rules, for comparison with what the servers
//! show. Spec: Client-Server API, section 'Room history visibility'.

use std::collections::{BTreeMap, BTreeSet};

use hearth_homeserver::rooms::event::StoredEvent;
use ruma_common::OwnedEventId;

use super::knowledge::Knowledge;

/// What one user may see of a room.
pub(crate) struct Entitlement<'a> {
    knowledge: &'a Knowledge,
    user: &'a str,
    /// Every event at which the user was joined, or is now, and everything before one.
    shared_past: BTreeSet<OwnedEventId>,
    /// The user's joins, and until when each held, in milliseconds since the Unix epoch: until another membership
    /// followed it, not until state resolution took its effect.
    joins: BTreeMap<&'a OwnedEventId, u64>,
}

impl<'a> Entitlement<'a> {
    pub(crate) fn new(knowledge: &'a Knowledge, user: &'a str) -> Self {
        let mut entitlement = Self {
            knowledge,
            user,
            shared_past: BTreeSet::new(),
            joins: BTreeMap::new(),
        };
        let accepted = knowledge.events.values().filter(|event| !event.decision.rejected);
        let joined = accepted.filter(|event| entitlement.is_joined_at(event));
        let now = knowledge
            .believers()
            .filter(|(_, belief)| knowledge.membership(&belief.state, user) == "join");
        let joined: Vec<_> = joined
            .map(|event| &event.event_id)
            .chain(now.flat_map(|(_, belief)| &belief.extremities))
            .collect();
        entitlement.shared_past = knowledge.past(joined);
        let accepted = knowledge.events.values().filter(|event| !event.decision.rejected);
        let (joins, others): (Vec<_>, Vec<_>) = accepted
            .filter(|event| entitlement.is_membership(event))
            .partition(|event| entitlement.joins_by(event));
        let mut joins: BTreeMap<_, _> = joins.into_iter().map(|join| (&join.event_id, u64::MAX)).collect();
        for other in others {
            let past = knowledge.past([&other.event_id]);
            let ended = joins.iter_mut().filter(|(join, _)| past.contains(**join));
            ended.for_each(|(_, until)| *until = (*until).min(other.origin_server_ts()));
        }
        entitlement.joins = joins;
        entitlement
    }

    fn is_membership(&self, event: &StoredEvent) -> bool {
        event.kind() == "m.room.member" && event.state_key() == Some(self.user)
    }

    /// Whether the user was joined when `event` happened, or joined by it.
    fn is_joined_at(&self, event: &StoredEvent) -> bool {
        self.joins_by(event) || self.membership_at(event) == "join"
    }

    fn joins_by(&self, event: &StoredEvent) -> bool {
        self.is_membership(event) && event.content_text("membership") == Some("join")
    }

    /// Whether `event` was not sent after a join, on the graph, nor after that had ended, by the one clock that all
    /// servers here have. Of what happened beside a join on another branch of the graph nobody can say that it did not
    /// come before ("if [...] the user joined the room at any point after the event was sent, allow"); state resolution
    /// may soft-fail one or take the other's effect.
    fn is_beside_join(&self, event: &StoredEvent) -> bool {
        let past = self.knowledge.past([&event.event_id]);
        let mut joins = self.joins.iter();
        joins.any(|(join, until)| !past.contains(*join) && event.origin_server_ts() <= *until)
    }

    fn membership_at(&self, event: &StoredEvent) -> &str {
        let state = self.knowledge.state_before(event);
        state.map_or("leave", |state| self.knowledge.membership(state, self.user))
    }

    /// Whether the rules let the user see `event`.
    pub(crate) fn allows(&self, event: &StoredEvent) -> bool {
        if self.is_joined_at(event) {
            return true;
        }
        let invited = self.membership_at(event) == "invite" || self.invites(event);
        visibilities(self.knowledge, event).any(|visibility| match visibility {
            "world_readable" => true,
            "shared" => self.shared_past.contains(&event.event_id) || self.is_beside_join(event),
            "invited" => invited,
            _ => false,
        })
    }

    fn invites(&self, event: &StoredEvent) -> bool {
        self.is_membership(event) && event.content_text("membership") == Some("invite")
    }
}

/// The history visibility at `event`; before and after it, where it changes that.
fn visibilities<'a>(knowledge: &'a Knowledge, event: &'a StoredEvent) -> impl Iterator<Item = &'a str> {
    let before = knowledge
        .state_before(event)
        .and_then(|state| knowledge.text(state, "m.room.history_visibility", "", "history_visibility"));
    let after = (event.kind() == "m.room.history_visibility")
        .then(|| event.content_text("history_visibility"))
        .flatten();
    [Some(before.unwrap_or("shared")), after].into_iter().flatten()
}
