//! Members in an answer of `/sync`: the summary of a room, and which member events lazy loading sends.
//!
//! Spec: Client-Server API, section 'Lazy-loading room members'. A member may be sent again in a later answer:
//! what a client has been sent is not remembered.

use hearth_rooms::ordered;
use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{OwnedUserId, UserId};

use super::response::Summary;
use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        room::Snapshot,
        view::{CANONICAL_ALIAS, MEMBER, NAME},
    },
};

/// How many members a room without a name is named after.
const MAX_HEROES: usize = 5;
/// How many members are read at once in search of heroes.
const PAGE: usize = 64;
/// How often that is done.
const MAX_PAGES: usize = 16;

/// Members who may become heroes, in the order of their ids.
#[derive(Default)]
struct Heroes {
    present: Vec<OwnedUserId>,
    gone: Vec<OwnedUserId>,
}

impl Homeserver {
    /// The summary of a room for `user_id`.
    pub(crate) async fn summary(&self, snapshot: &Snapshot, user_id: &UserId) -> Result<Summary, Error> {
        let state = self.view(snapshot, &[NAME, CANONICAL_ALIAS]).await?;
        let has = |key, field| state.text(key, field).is_some_and(|text| !text.is_empty());
        let is_named = has(NAME, "name") || has(CANONICAL_ALIAS, "alias");
        let heroes = match is_named {
            true => None,
            false => Some(self.heroes(snapshot, user_id).await?),
        };
        let members = snapshot.members();
        Ok(Summary {
            heroes,
            joined_member_count: members.joined,
            invited_member_count: members.invited,
        })
    }

    /// The first members who are joined or invited; of a room that everybody else has left, the first who left.
    async fn heroes(&self, snapshot: &Snapshot, user_id: &UserId) -> Result<Vec<String>, Error> {
        let members = snapshot.members();
        let others = (members.joined + members.invited).saturating_sub(1);
        let wanted = MAX_HEROES.min(usize::try_from(others).unwrap_or(MAX_HEROES));
        let (mut heroes, mut after) = (Heroes::default(), None);
        for _ in 0..MAX_PAGES {
            let page = self
                .member_page(&snapshot.room_id, after.as_deref(), PAGE)
                .await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(member, _)| member.clone());
            for (member, row) in page.into_iter().filter(|(member, _)| member != user_id) {
                heroes.note(member, &row.membership);
            }
            let is_done = wanted > 0 && heroes.present.len() >= wanted;
            if is_done || is_last {
                break;
            }
        }
        Ok(heroes.first())
    }
}

impl Heroes {
    fn note(&mut self, member: OwnedUserId, membership: &str) {
        match membership {
            "join" | "invite" => self.present.push(member),
            "leave" | "ban" => self.gone.push(member),
            _ => (),
        }
    }

    fn first(self) -> Vec<String> {
        let heroes = if self.present.is_empty() {
            self.gone
        } else {
            self.present
        };
        heroes.into_iter().take(MAX_HEROES).map(String::from).collect()
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
    let members = timeline.iter().filter(|event| event.kind() == MEMBER);
    let members = members.filter_map(|event| event.state_key().map(str::to_owned));
    let heroes = summary
        .and_then(|summary| summary.heroes.clone())
        .unwrap_or_default();
    let own = is_new.then(|| user_id.to_string());
    ordered::set(senders.chain(members).chain(heroes).chain(own))
}
