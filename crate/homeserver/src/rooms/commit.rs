//! The end of a change to a room: everything that follows from its events is written with them in one batch, and
//! shown once that is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_lock::MutexGuardArc;
use hearth_rooms::{ordered, state_tree::Difference};
use hearth_storage::{BoxFuture, Table, WriteBatch};
use ruma_common::{OwnedServerName, OwnedUserId, UserId};

use crate::{
    Error, Homeserver, LogEntry,
    federation::sender::Outbox,
    relations::index::{Indexing, NewSummaries},
    rooms::{
        append::removed_server,
        change::{Change, Letter, Pending, Place},
        event::StoredEvent,
        former::former_key,
        member_rows::{MemberChange, membership_of},
        memberships::UserMembership,
        room::{Room, Snapshot},
        timeline::timeline_key,
        tree::Nodes,
        view::{GUEST_ACCESS, MEMBER},
    },
    search::SearchChange,
    stored::to_vec,
};

/// What follows from the events of a change.
struct Effects {
    /// How many events have got a place in the timeline.
    gained: usize,
    /// What local users are in the room now.
    memberships: BTreeMap<OwnedUserId, UserMembership>,
    summaries: NewSummaries,
    /// What keeps others from filling the index of words meanwhile.
    words: Option<MutexGuardArc<()>>,
    mail: Vec<Letter>,
    /// Whether guests may be let in who were not, or the other way about.
    guest_access: bool,
    /// If servers are out of the room now, those that are so by what its branches come to together.
    put_out: Option<BTreeSet<OwnedServerName>>,
}

/// What a change shows once it is durable.
struct Outcome {
    room: Arc<Room>,
    snapshot: Snapshot,
    nodes: Nodes,
    /// The events as they were written.
    events: Vec<Arc<StoredEvent>>,
    /// Servers that this one meets by the change.
    newcomers: BTreeSet<OwnedServerName>,
    effects: Effects,
    /// Keeps others from changing the room.
    guard: MutexGuardArc<()>,
}

impl Change<'_> {
    /// Stores the events that were kept, and nothing else: the room stays as it is, even if it is not known yet.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, or has what was said not to be stored; then nothing has changed.
    pub(crate) async fn store_kept(mut self) -> Result<(), Error> {
        self.place_events().await?;
        for pending in &self.events {
            let event = &pending.event;
            match pending.is_unstored {
                true => {
                    let key = event.event_id.as_bytes();
                    self.batch.insert(Table::Events, key, event.encode()?);
                }
                false => write_event(&mut self.batch, event)?,
            }
        }
        Ok(self.homeserver.seams.store.commit(self.batch).await?)
    }

    /// Commits everything, then shows it. Returns the log position of the last entry.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing has changed.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(crate) fn commit<'f>(mut self) -> BoxFuture<'f, Result<u64, Error>>
    where
        Self: 'f,
    {
        Box::pin(async move {
            let homeserver = self.homeserver;
            self.place_events().await?;
            let changes = self.state_changes().await?;
            let members = self.changed_members(&changes).await?;
            let removed = self.removed_servers();
            self.tell_removed(&removed);
            let indexing = homeserver.indexing(&self.new_events(), &self.outdated).await?;
            let words = self.changed_words().await?;
            let state_only = self.becomes_whole || self.changes_beyond_timeline(&changes);
            let reservation = homeserver
                .log
                .reserve(self.live_events() + usize::from(state_only));
            let (mut entries, mail) = self.write_events(reservation.first())?;
            if state_only {
                entries.push(LogEntry::State {
                    room_id: self.room.room_id.clone(),
                });
            }
            let last = reservation.first() + (entries.len() as u64).saturating_sub(1);
            let effects = Effects {
                gained: self.new_events().len(),
                memberships: self.write_members(members, reservation.first(), last)?,
                summaries: self.write_index(indexing)?,
                words: words.map(|words| self.write_words(words)).transpose()?,
                mail,
                guest_access: changes.iter().any(|change| change.event_type == GUEST_ACCESS.0),
                put_out: (!removed.is_empty()).then(|| self.put_out(&removed)),
            };
            self.write_room(&removed, last)?;
            let shared = homeserver
                .shared()
                .ok_or_else(|| Error::Damaged("closing".into()))?;
            let (batch, outcome) = self.into_outcome(effects);
            reservation
                .commit(batch, entries, move || outcome.show(&shared))
                .await
        })
    }

    /// The members that this change changes; their counts are changed with it.
    async fn changed_members(&mut self, changes: &[Difference]) -> Result<Vec<MemberChange>, Error> {
        let rows = self.rows_ahead().await?;
        let members = self.member_changes(changes, &rows).await?;
        self.drop_stale_rows(changes, &rows).await?;
        self.count_changes(&members).await?;
        Ok(members)
    }

    /// The events that this change gives their places in the timeline.
    fn new_events(&self) -> Vec<&StoredEvent> {
        let new = self.events.iter().filter(|pending| pending.is_new);
        new.map(|pending| &*pending.event).collect()
    }

    /// How many events are appended to the timeline.
    fn live_events(&self) -> usize {
        let is_live = |pending: &&Pending| pending.place != Place::Stored;
        self.events.iter().filter(is_live).count()
    }

    /// What is to be changed at once in the index of words: an event that is appended is left to those who fill it.
    async fn changed_words(&self) -> Result<Option<SearchChange>, Error> {
        let is_filled = self.new_events().len() > self.live_events();
        if !is_filled && self.outdated.is_empty() {
            return Ok(None);
        }
        let change = self.homeserver.search_change(&self.room.room_id, &self.outdated);
        change.await.map(Some)
    }

    /// Writes the room as it is after `last`, when `removed` are in it no more.
    fn write_room(&mut self, removed: &BTreeSet<OwnedServerName>, last: u64) -> Result<(), Error> {
        for server in removed.union(&self.told) {
            let key = former_key(&self.room.room_id, server);
            self.batch.put(Table::Memberships, key, last.to_be_bytes());
        }
        if self.becomes_whole {
            self.snapshot.record.whole_since = Some(last);
        }
        self.nodes.write(&mut self.batch);
        let record = to_vec(&self.snapshot.record)?;
        self.batch.put(Table::Rooms, self.room.room_id.as_bytes(), record);
        Ok(())
    }

    /// What is written, and what is shown once it is.
    fn into_outcome(self, effects: Effects) -> (WriteBatch, Outcome) {
        let newcomers = self.newcomers();
        let events = self.events.into_iter().map(|pending| pending.event);
        let outcome = Outcome {
            events: events.chain(self.redacted.into_values()).collect(),
            room: self.room,
            snapshot: self.snapshot,
            nodes: self.nodes,
            newcomers,
            effects,
            guard: self.guard,
        };
        (self.batch, outcome)
    }

    /// Writes the events; the live ones get positions from `first` on.
    fn write_events(&mut self, first: u64) -> Result<(Vec<LogEntry>, Vec<Letter>), Error> {
        let (mut entries, mut mail) = (Vec::new(), Vec::new());
        for Pending { event, place, .. } in &mut self.events {
            if let Place::Live(servers) = place {
                let position = first + entries.len() as u64;
                Arc::make_mut(event).decision.order = Some(position.cast_signed());
                Outbox::store(&mut self.batch, servers, position, event);
                let (room_id, event_id) = (self.room.room_id.clone(), event.event_id.clone());
                entries.push(LogEntry::Event {
                    room_id,
                    event_id,
                    member: member_of(event),
                });
                mail.push((position, std::mem::take(servers), event.clone()));
            }
            write_event(&mut self.batch, event)?;
        }
        for event in self.redacted.values() {
            write_event(&mut self.batch, event)?;
        }
        mail.append(&mut self.belated);
        Ok((entries, mail))
    }

    /// Writes what relates to what; returns what is to be kept in memory of it.
    fn write_index(&mut self, mut indexing: Indexing) -> Result<NewSummaries, Error> {
        for pending in self.events.iter().filter(|pending| pending.is_new) {
            indexing.add(&pending.event)?;
        }
        let mut summaries = std::mem::take(&mut self.childless);
        summaries.extend(indexing.write(&mut self.batch)?);
        Ok(summaries)
    }

    /// Writes which words are found where, so far as that is not left to those who fill the index. Returns what is
    /// to be held until the commit.
    fn write_words(&mut self, mut words: SearchChange) -> Result<MutexGuardArc<()>, Error> {
        let filled = |pending: &&Pending| pending.is_new && pending.place == Place::Stored;
        for pending in self.events.iter().filter(filled) {
            words.note(&pending.event);
        }
        words.write(&mut self.batch)
    }

    /// The servers that this change brings together with this one: those that come into the room or, if this
    /// server does, all in it.
    fn newcomers(&self) -> BTreeSet<OwnedServerName> {
        let (Some(before), Some(after)) = (self.before.servers.get(), self.snapshot.servers.get()) else {
            return BTreeSet::new();
        };
        if Arc::ptr_eq(before, after) {
            return BTreeSet::new();
        }
        let is_new = |server: &&OwnedServerName| self.begins_anew() || !before.contains_key(*server);
        match self.snapshot.members().local {
            0 => BTreeSet::new(),
            _ => ordered::set(after.keys().filter(is_new).cloned()),
        }
    }

    /// Whether nobody of this server was in the room before.
    pub(super) fn begins_anew(&self) -> bool {
        self.before.members().local == 0
    }

    /// The servers that this change removes from the room. Who was there in an earlier stay is not removed by it.
    fn removed_servers(&self) -> BTreeSet<OwnedServerName> {
        let goes_on = !self.becomes_whole && !self.begins_anew();
        match (self.before.servers.get(), self.snapshot.servers.get()) {
            (Some(before), Some(after)) if goes_on && !Arc::ptr_eq(before, after) => {
                let gone = before.keys().filter(|server| !after.contains_key(*server));
                ordered::set(gone.cloned())
            }
            _ => BTreeSet::new(),
        }
    }

    /// Those of `removed` that no event of this change removes by name: the branches of the room together do.
    fn put_out(&self, removed: &BTreeSet<OwnedServerName>) -> BTreeSet<OwnedServerName> {
        let named: BTreeSet<_> = ordered::set(self.own_events().filter_map(|event| removed_server(event)));
        ordered::set(removed.difference(&named).cloned())
    }

    /// Sends the state event by which servers were removed to them, whoever sent it: if two branches of the room
    /// were joined by it, nobody else may know that they believe to be in the room. Of a large room, only some do.
    fn tell_removed(&mut self, removed: &BTreeSet<OwnedServerName>) {
        let others = self.snapshot.servers.get().map_or(0, |servers| servers.len());
        for Pending { event, place, .. } in &mut self.events {
            if let Place::Live(servers) = place
                && event.state_key().is_some()
            {
                let told = removed.iter().filter(|server| {
                    let knows =
                        *server == self.homeserver.server_name() || *server == event.sender().server_name();
                    !knows && self.homeserver.is_one_of_few(others)
                });
                servers.extend(told.cloned());
            }
        }
    }

    /// Where the state differs from what it was before. Costs as much as it differs.
    async fn state_changes(&self) -> Result<Vec<Difference>, Error> {
        let (before, after) = (&self.before.record.state, &self.snapshot.record.state);
        self.homeserver.tree_difference(before, after, &self.nodes).await
    }

    /// Whether the state changes by more than the events that are appended to the timeline.
    fn changes_beyond_timeline(&self, changes: &[Difference]) -> bool {
        let live = self
            .events
            .iter()
            .filter(|pending| pending.place != Place::Stored);
        let live: BTreeSet<_> = ordered::set(live.map(|pending| &pending.event.event_id));
        let is_told = |change: &Difference| change.after.as_ref().is_some_and(|after| live.contains(after));
        !changes.iter().all(is_told)
    }
}

impl Outcome {
    fn show(self, homeserver: &Arc<Homeserver>) {
        let (room, effects) = (self.room, self.effects);
        for (user_id, membership) in effects.memberships {
            let rooms = &homeserver.user_rooms;
            rooms.publish(&user_id, &room.room_id, Some(membership));
        }
        self.nodes.publish(&homeserver.nodes);
        for user_id in homeserver.typing.room(&room.room_id) {
            let is_theirs = |event: &StoredEvent| {
                event.kind() == MEMBER && event.state_key() == Some(user_id.as_str()) && !event.is_refused()
            };
            let mut events = self.events.iter();
            if events.any(|event| is_theirs(event) && membership_of(event) != "join") {
                homeserver.end_typing(&room.room_id, &user_id);
            }
        }
        for event in self.events {
            homeserver.events.keep(event);
        }
        for (key, summary) in effects.summaries {
            homeserver.relations.keep(key, summary);
        }
        let servers = self.snapshot.servers.get().map_or(0, |servers| servers.len());
        room.publish(self.snapshot);
        homeserver.rooms.keep(&room);
        drop(effects.words);
        homeserver.gained_events(&room.room_id, effects.gained);
        for (position, servers, event) in effects.mail {
            homeserver.post(&servers, position, &event);
        }
        for server in &self.newcomers {
            homeserver.seams.federation.met(server.as_str());
            homeserver.held.let_in(&room.room_id, server);
        }
        homeserver.compare_heads_with_some(&self.newcomers, servers);
        if effects.guest_access {
            homeserver.dismiss_guests(&room.room_id);
        }
        if let Some(out) = effects.put_out {
            homeserver.merge_for(&room, out);
        }
        drop(self.guard);
    }
}

/// Puts an event into `batch`, and into the timeline if it has a place there.
fn write_event(batch: &mut WriteBatch, event: &StoredEvent) -> Result<(), Error> {
    if let Some(order) = event.decision.order {
        let key = timeline_key(event.room_id(), order);
        batch.put(Table::Timeline, key, event.event_id.as_bytes());
    }
    batch.put(Table::Events, event.event_id.as_bytes(), event.encode()?);
    Ok(())
}

/// The user whose membership `event` sets.
fn member_of(event: &StoredEvent) -> Option<OwnedUserId> {
    let is_member = event.kind() == MEMBER;
    UserId::parse(event.state_key()?).ok().filter(|_| is_member)
}
