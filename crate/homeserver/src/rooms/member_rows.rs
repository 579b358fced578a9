//! What is kept of a room's members beside its state: their rows, their counts, and what their own servers are
//! to know. A [`Change`] finds the members it changes by comparing the state before and after.
//!
//! A room that is joined without its members gets most of their rows *ahead* of its state, each in the batch of the
//! member's event: the change that makes the state whole would else write them all at once. That change
//! brings every row into line with the state; until then a row may be there without the member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_rooms::{ordered, state_tree::Difference};
use hearth_storage::Table;
use ruma_common::{OwnedEventId, OwnedServerName, OwnedUserId, UserId};
use serde_json::Value;

use crate::{
    Error, JsonObject,
    ordered::map,
    rooms::{
        change::Change,
        client_event::stripped,
        event::StoredEvent,
        member_counts::{ServerCounts, server_key},
        memberships::{Leaving, RoomMember, UserMembership, invite_key, member_key, user_key},
        view::{AVATAR, CANONICAL_ALIAS, CREATE, JOIN_RULES, Key, MEMBER, NAME, TOMBSTONE, TOPIC, member},
    },
    stored::to_vec,
};

/// The state that describes a room to whom is invited to it. Spec: Client-Server API, section 'Stripped state'.
const INVITE_STATE: [Key<'static>; 8] = [
    CREATE,
    NAME,
    AVATAR,
    TOPIC,
    JOIN_RULES,
    CANONICAL_ALIAS,
    ("m.room.encryption", ""),
    TOMBSTONE,
];

/// What clients show of its content, and take for a string if it is there and not null.
const SHOWN: [&str; 6] = ["name", "topic", "url", "alias", "displayname", "avatar_url"];

/// Whether a stripped event describes a room to whom is invited to it: a member does too. Clients break on others, on a
/// member who is no user, and on a name that is no string, if no server has checked them: matrix-js-sdk then shows no room
/// at all.
pub(super) fn describes(event: &JsonObject) -> bool {
    let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, state_key) = (text("type"), text("state_key"));
    let is_known =
        INVITE_STATE.contains(&(kind, state_key)) || (kind == MEMBER && UserId::parse(state_key).is_ok());
    let can_be_shown = |field: &&str| {
        let value = event.get("content").and_then(|content| content.get(*field));
        matches!(value, None | Some(Value::Null | Value::String(_)))
    };
    is_known && SHOWN.iter().all(can_be_shown)
}

/// How many members are read before others get their turn.
const SLICE: usize = 200;
/// How many rows are read at once.
const PAGE: usize = 1024;

/// Rows that may be there ahead of the state: of a room whose state becomes whole, all of its members'.
#[derive(Default)]
pub(super) struct RowsAhead(BTreeMap<OwnedUserId, RoomMember>);

/// How a change bears on one member.
pub(super) struct MemberChange {
    user_id: OwnedUserId,
    /// The membership before, if there was a member event.
    before: Option<String>,
    /// The member event before or, if there is one, after.
    event_id: OwnedEventId,
    /// The membership after, if there is a member event.
    after: Option<String>,
    /// The order of the event after, if it has one already.
    order: Option<i64>,
    /// What a local user is shown who is invited.
    invite_state: Option<Vec<JsonObject>>,
    /// Whether the member's row is as it must be.
    is_written: bool,
}

impl Change<'_> {
    /// Writes the rows of members of other servers whose events this change keeps, of those in `state`: the state
    /// that the room is about to get. Not of those of whom the present state, though partial, knows more.
    pub(crate) async fn write_members_ahead(&mut self, state: &BTreeSet<OwnedEventId>) -> Result<(), Error> {
        if !self.snapshot.is_partial() {
            return Ok(());
        }
        let allowed = |event: &&Arc<StoredEvent>| event.kind() == MEMBER && !event.is_refused();
        let events = self.own_events().filter(|event| state.contains(&event.event_id));
        let rows: Vec<_> = events.filter(allowed).filter_map(|event| row_of(event)).collect();
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|(user_id, _)| !self.homeserver.is_local(user_id))
            .collect();
        let keys: Vec<_> = rows
            .iter()
            .map(|(user_id, _)| (MEMBER, user_id.as_str()))
            .collect();
        let root = &self.snapshot.record.state;
        let present = self.homeserver.tree_get(root, &keys, self.nodes()).await?;
        for ((user_id, row), _) in rows.iter().zip(present).filter(|(_, present)| present.is_none()) {
            let key = member_key(&self.room.room_id, user_id);
            self.batch.put(Table::Memberships, key, to_vec(row)?);
        }
        Ok(())
    }

    /// The rows that may be ahead of the state, if this change is to bring them into line with it.
    pub(super) async fn rows_ahead(&self) -> Result<RowsAhead, Error> {
        let mut rows = RowsAhead::default();
        if !self.before.is_partial() || self.snapshot.is_partial() {
            return Ok(rows);
        }
        loop {
            let after = rows.0.last_key_value().map(|(user_id, _)| user_id.clone());
            let page = self
                .homeserver
                .member_page(&self.room.room_id, after.as_deref(), PAGE)
                .await?;
            let is_last = page.len() < PAGE;
            rows.0.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }

    /// Removes the rows of those who are no members: they are neither among `changes` nor in the state.
    pub(super) async fn drop_stale_rows(
        &mut self,
        changes: &[Difference],
        rows: &RowsAhead,
    ) -> Result<(), Error> {
        let changed = changes.iter().filter(|change| change.event_type == MEMBER);
        let changed: BTreeSet<_> = ordered::set(changed.map(|change| change.state_key.as_str()));
        let unchanged: Vec<_> = rows
            .0
            .keys()
            .filter(|user| !changed.contains(user.as_str()))
            .collect();
        for users in unchanged.chunks(PAGE) {
            let keys: Vec<_> = users.iter().map(|user| (MEMBER, user.as_str())).collect();
            let root = &self.snapshot.record.state;
            let present = self.homeserver.tree_get(root, &keys, self.nodes()).await?;
            for (user, _) in users.iter().zip(present).filter(|(_, present)| present.is_none()) {
                let key = member_key(&self.room.room_id, user);
                self.batch.delete(Table::Memberships, key);
            }
        }
        Ok(())
    }

    /// The members among `changes`. The events of those whose rows are there already are not read.
    pub(super) async fn member_changes(
        &self,
        changes: &[Difference],
        rows: &RowsAhead,
    ) -> Result<Vec<MemberChange>, Error> {
        let changes: Vec<_> = changes
            .iter()
            .filter(|change| change.event_type == MEMBER)
            .collect();
        let mut members = Vec::with_capacity(changes.len());
        for slice in changes.chunks(SLICE) {
            if !members.is_empty() {
                self.homeserver.give_way().await;
            }
            let mut unread = Vec::new();
            for change in slice {
                match rows
                    .written(change)
                    .filter(|member| !self.homeserver.is_local(&member.user_id))
                {
                    Some(member) => members.push(member),
                    None => unread.push(*change),
                }
            }
            self.members_of_slice(&unread, &mut members).await?;
        }
        Ok(members)
    }

    async fn members_of_slice(
        &self,
        changes: &[&Difference],
        members: &mut Vec<MemberChange>,
    ) -> Result<(), Error> {
        let ids = changes.iter().flat_map(|change| [&change.before, &change.after]);
        let ids: Vec<_> = ids.flatten().cloned().collect();
        let events = self.known_events(&ids).await?;
        let events = map(events.iter().map(|event| (&*event.event_id, event)));
        for change in changes {
            let event = |id: &Option<OwnedEventId>| events.get(&**id.as_ref()?).copied();
            let (before, after) = (event(&change.before), event(&change.after));
            if let Some(mut member) = MemberChange::new(&change.state_key, before, after) {
                member.invite_state = self.invite_state(&member).await?;
                members.push(member);
            }
        }
        Ok(())
    }

    /// Brings the counts up to date, in the record and in the rows of servers.
    pub(super) async fn count_changes(&mut self, members: &[MemberChange]) -> Result<(), Error> {
        if members.is_empty() {
            self.snapshot.servers = self.before.servers.clone();
            return Ok(());
        }
        let mut counts = self.snapshot.members();
        let mut servers = ServerCounts::clone(&*self.homeserver.servers(&self.before).await?);
        let mut touched = BTreeSet::new();
        for member in members {
            let is_local = self.homeserver.is_local(&member.user_id);
            if let Some(before) = &member.before {
                counts.remove(before, is_local);
            }
            if let Some(after) = &member.after {
                counts.add(after, is_local);
            }
            if member.moves(&mut servers) {
                touched.insert(member.user_id.server_name().to_owned());
            }
        }
        self.snapshot.record.members = Some(counts);
        self.write_servers(&servers, &touched)?;
        self.snapshot.servers = Arc::new(servers).into();
        Ok(())
    }

    fn write_servers(
        &mut self,
        servers: &ServerCounts,
        touched: &BTreeSet<OwnedServerName>,
    ) -> Result<(), Error> {
        for server in touched {
            let key = server_key(&self.room.room_id, server);
            match servers.get(server) {
                Some(count) => self.batch.put(Table::Memberships, key, to_vec(count)?),
                None => self.batch.delete(Table::Memberships, key),
            };
        }
        Ok(())
    }

    /// Writes the rows of the members that have changed; returns those of local users. The change's log positions
    /// are those from `first` to `last`.
    pub(super) fn write_members(
        &mut self,
        members: Vec<MemberChange>,
        first: u64,
        last: u64,
    ) -> Result<BTreeMap<OwnedUserId, UserMembership>, Error> {
        let mut local = BTreeMap::new();
        for member in members {
            if !member.is_written {
                self.write_member(&member)?;
            }
            if self.homeserver.is_local(&member.user_id)
                && let Some(row) = self.write_local_member(&member, first, last)?
            {
                local.insert(member.user_id, row);
            }
        }
        Ok(local)
    }

    fn write_member(&mut self, member: &MemberChange) -> Result<(), Error> {
        let key = member_key(&self.room.room_id, &member.user_id);
        match &member.after {
            Some(membership) => {
                let row = RoomMember {
                    membership: membership.clone(),
                    event_id: member.event_id.clone(),
                };
                self.batch.put(Table::Memberships, key, to_vec(&row)?);
            }
            None => drop(self.batch.delete(Table::Memberships, key)),
        }
        Ok(())
    }

    /// Writes a local user's own row, and the stripped state of an invite. Who is no member any more, because
    /// resolution took the event away, has left; who is left out where a room begins anew has not. A membership that
    /// resolution brings back is news as of now, though its event is old; an old leave is none to whom it is all that
    /// there is, as to who has forgotten the room.
    fn write_local_member(
        &mut self,
        member: &MemberChange,
        first: u64,
        last: u64,
    ) -> Result<Option<UserMembership>, Error> {
        let (user_id, room_id) = (&member.user_id, &self.room.room_id);
        let own = self.own_event(&member.event_id);
        let before = self.homeserver.user_membership(user_id, room_id);
        let is_left_out = member.after.is_none() && self.snapshot.is_partial() && self.begins_anew();
        let is_left = matches!(member.after.as_deref(), None | Some("leave"));
        if is_left_out || (is_left && own.is_none() && before.is_none()) {
            return Ok(None);
        }
        let order = own.map_or(member.order, |event| event.decision.order);
        let place = order.map_or(last, |order| order.max(0).cast_unsigned());
        let position = if place < first { last } else { place };
        let membership = member.after.clone().unwrap_or_else(|| "leave".to_owned());
        let same = |row: &&UserMembership| row.event_id == member.event_id && row.membership == membership;
        let position = before.as_ref().filter(same).map_or(position, |row| row.position);
        let was_joined = before.as_ref().is_some_and(|before| before.membership == "join");
        let joins = membership == "join" && !was_joined;
        let ends = was_joined && membership != "join";
        let (joined_before, left) = before
            .map(|before| (before.joined_at, before.left))
            .unwrap_or_default();
        let event_id = member.event_id.clone();
        let row = UserMembership {
            left: match ends {
                true => Some(Leaving {
                    event_id: event_id.clone(),
                    position,
                }),
                false => left.filter(|_| membership != "join"),
            },
            membership,
            event_id,
            position,
            joined_at: if joins { Some(place) } else { joined_before },
            through: None,
            has_own_event: false,
        };
        let (row_key, invite_key) = (user_key(user_id, room_id), invite_key(user_id, room_id));
        self.batch.put(Table::Memberships, row_key, to_vec(&row)?);
        match &member.invite_state {
            Some(stripped) => self.batch.put(Table::Memberships, invite_key, to_vec(stripped)?),
            None => self.batch.delete(Table::Memberships, invite_key),
        };
        Ok(Some(row))
    }

    /// What a local user is shown whom the change invites, or who knocks by it.
    async fn invite_state(&self, member: &MemberChange) -> Result<Option<Vec<JsonObject>>, Error> {
        let waits = matches!(member.after.as_deref(), Some("invite" | "knock"));
        let invited = waits && self.homeserver.is_local(&member.user_id);
        if !invited {
            return Ok(None);
        }
        let invite = self
            .known_events(std::slice::from_ref(&member.event_id))
            .await?
            .pop();
        let Some(invite) = invite else { return Ok(None) };
        let mut stripped_state = self.stripped_for(invite.sender(), &member.user_id).await?;
        stripped_state.push(stripped(&invite));
        Ok(Some(stripped_state))
    }

    /// The stripped state that `target` is shown with an invite of `sender`, without the invite itself.
    pub(crate) async fn stripped_for(
        &self,
        sender: &UserId,
        target: &UserId,
    ) -> Result<Vec<JsonObject>, Error> {
        let sender = (sender != target).then(|| member(sender));
        let keys: Vec<_> = INVITE_STATE.into_iter().chain(sender).collect();
        let state = self.view(&keys).await?;
        let described = keys
            .iter()
            .filter_map(|(kind, state_key)| state.get(kind, state_key));
        Ok(described.map(|event| stripped(event)).collect())
    }
}

impl MemberChange {
    fn new(
        user_id: &str,
        before: Option<&Arc<StoredEvent>>,
        after: Option<&Arc<StoredEvent>>,
    ) -> Option<Self> {
        let membership = |event: &Arc<StoredEvent>| membership_of(event).to_owned();
        let event = after.or(before)?;
        Some(Self {
            user_id: UserId::parse(user_id).ok()?,
            before: before.map(membership),
            event_id: event.event_id.clone(),
            after: after.map(membership),
            order: after.and_then(|event| event.decision.order),
            invite_state: None,
            is_written: false,
        })
    }

    /// Counts the member's server in `servers`. Returns whether that makes a difference.
    fn moves(&self, servers: &mut ServerCounts) -> bool {
        let is_join = |membership: &Option<String>| membership.as_deref() == Some("join");
        let (was_joined, is_joined) = (is_join(&self.before), is_join(&self.after));
        let server = self.user_id.server_name();
        if was_joined == is_joined {
            return false;
        }
        let count = servers.entry(server.to_owned()).or_default();
        *count = if is_joined {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            servers.remove(server);
        }
        true
    }
}

impl RowsAhead {
    /// What `change` means to a member of whom nothing was known, if that is what the row says.
    fn written(&self, change: &Difference) -> Option<MemberChange> {
        let event_id = change.after.as_ref().filter(|_| change.before.is_none())?;
        let user_id = UserId::parse(&change.state_key).ok()?;
        let row = self.0.get(&user_id).filter(|row| row.event_id == *event_id)?;
        Some(MemberChange {
            user_id,
            before: None,
            event_id: event_id.clone(),
            after: Some(row.membership.clone()),
            order: None,
            invite_state: None,
            is_written: true,
        })
    }
}

/// The row of a member, by the member's event.
fn row_of(event: &StoredEvent) -> Option<(OwnedUserId, RoomMember)> {
    let user_id = UserId::parse(event.state_key()?).ok()?;
    let row = RoomMember {
        membership: membership_of(event).to_owned(),
        event_id: event.event_id.clone(),
    };
    Some((user_id, row))
}

/// What a member event says; one that says nothing is as good as none.
pub(super) fn membership_of(member: &StoredEvent) -> &str {
    member.content_text("membership").unwrap_or("leave")
}
