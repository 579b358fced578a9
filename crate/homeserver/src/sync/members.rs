//! Members in an answer of `/sync`: the summary of a room, and which member events lazy loading sends.
//!
//! Spec: Client-Server API, section 'Lazy-loading room members'. A member may be sent again in a later answer:
//! what a client has been sent is not remembered.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::UserId;

use super::response::Summary;
use crate::rooms::{event::StoredEvent, room::CurrentState};

/// How many members a room without a name is named after.
const MAX_HEROES: usize = 5;

/// The summary of a room for `user_id`.
pub(super) fn summary(state: &CurrentState, user_id: &UserId) -> Summary {
    let invited = state
        .members()
        .filter(|member| membership(member) == "invite")
        .count();
    Summary {
        heroes: (!is_named(state)).then(|| heroes(state, user_id)),
        joined_member_count: state.joined_count(),
        invited_member_count: invited,
    }
}

/// The members that a client needs which loads them lazily: those who sent `timeline` or whom it is about, and of
/// a room that is new to it the user and the heroes.
pub(super) fn needed_members(
    timeline: &[Arc<StoredEvent>],
    user_id: &UserId,
    summary: Option<&Summary>,
    is_new: bool,
) -> BTreeSet<String> {
    let senders = timeline.iter().map(|event| event.sender().to_string());
    let members = timeline.iter().filter(|event| event.kind() == "m.room.member");
    let members = members.filter_map(|event| event.state_key().map(str::to_owned));
    let heroes = summary
        .and_then(|summary| summary.heroes.clone())
        .unwrap_or_default();
    senders
        .chain(members)
        .chain(heroes)
        .chain(is_new.then(|| user_id.to_string()))
        .collect()
}

/// Whether `event` is a member event of somebody who is not `needed`.
pub(super) fn is_needless(event: &StoredEvent, needed: &BTreeSet<String>) -> bool {
    event.kind() == "m.room.member" && event.state_key().is_some_and(|user| !needed.contains(user))
}

fn is_named(state: &CurrentState) -> bool {
    let has = |kind, field| {
        let text = state.get(kind, "").and_then(|event| event.content_text(field));
        text.is_some_and(|text| !text.is_empty())
    };
    has("m.room.name", "name") || has("m.room.canonical_alias", "alias")
}

/// The first members who joined or were invited; of a room that everybody else has left, the first who left.
fn heroes(state: &CurrentState, user_id: &UserId) -> Vec<String> {
    let mut present = others(state, user_id, &["join", "invite"]);
    if present.is_empty() {
        present = others(state, user_id, &["leave", "ban"]);
    }
    present.sort_by_key(|member| (member.origin_server_ts(), member.event_id.clone()));
    let users = present.into_iter().filter_map(|member| member.state_key());
    users.take(MAX_HEROES).map(str::to_owned).collect()
}

fn others<'a>(state: &'a CurrentState, user_id: &UserId, memberships: &[&str]) -> Vec<&'a Arc<StoredEvent>> {
    let is_other = |member: &&Arc<StoredEvent>| {
        member.state_key() != Some(user_id.as_str()) && memberships.contains(&membership(member))
    };
    state.members().filter(is_other).collect()
}

fn membership(member: &StoredEvent) -> &str {
    member.content_text("membership").unwrap_or_default()
}
