//! Adding events to the end of a room, and to whom they are sent.

use std::collections::BTreeSet;

use hearth_rooms::{Pdu, ordered};
use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedServerName, ServerName, UserId};

use crate::{
    Error,
    federation::sender::Outbox,
    relations::{index::summary_key, summary::Summary},
    rooms::{
        change::{Change, Place},
        draft::Draft,
        event::{Decision, StoredEvent},
        tree::StateEntry,
        view::MEMBER,
    },
};

/// Whom an event is sent to that is appended to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All other servers in the room.
    Room,
    /// Nobody: who has to know does.
    Nobody,
}

impl Change<'_> {
    /// Adds what a local user sends: builds, signs and authorises it. Returns its id.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the room's rules refuse it, [`Error::TooLarge`], [`Error::BadJson`].
    pub(crate) async fn send(&mut self, draft: Draft) -> Result<OwnedEventId, Error> {
        let transaction = draft.transaction.clone();
        let pdu = self.propose(draft).await?;
        let event_id = pdu.event_id().to_owned();
        self.append(pdu, transaction, Audience::Room).await?;
        Ok(event_id)
    }

    /// Adds an event whose past is the whole room as it is: everything sent here, and what others sent last.
    pub(crate) async fn append(
        &mut self,
        pdu: Pdu,
        transaction: Option<(OwnedDeviceId, String)>,
        audience: Audience,
    ) -> Result<(), Error> {
        let state_before = self.snapshot.record.state.clone();
        let decision = Decision {
            transaction,
            replaces: self.replaced_by(&pdu).await?,
            state_before: Some(state_before.clone()),
            partial: self.snapshot.is_partial(),
            ..Decision::new(&self.room.room_id)
        };
        let mut event = self.redacting(StoredEvent::new(pdu, decision)).await?;
        self.note_taken_in(&event.event_id);
        let record = &mut self.snapshot.record;
        record.depth = record.depth.max(event.pdu.depth());
        record
            .extremities
            .retain(|id| !event.pdu.prev_events().contains(id));
        record.extremities.push(event.event_id.clone());
        if event.state_key().is_some() {
            let root = self
                .insert_state(&state_before, vec![StateEntry::of(&event)])
                .await?;
            event.decision.state_now = Some(root.clone()).filter(|root| *root != state_before);
            self.snapshot.record.state = root;
        }
        self.joining.extend(joined_server(&event));
        let is_made_here = self.homeserver.is_local(event.sender());
        if is_made_here && !event.pdu.version().event_names_its_id() {
            let key = summary_key(event.room_id(), &event.event_id);
            self.childless.push((key, Summary::default()));
        }
        let destinations = match audience {
            Audience::Room => self.destinations(&event).await?,
            Audience::Nobody => BTreeSet::new(),
        };
        self.add(event, Place::Live(destinations));
        Ok(())
    }

    /// Adds an event to the end of the timeline whose past may be another than the room as it is, with the
    /// state that it says was before it, and sends it to `servers`. One that has a place in the timeline keeps it:
    /// clients may have been shown it there. The room's extremities are the caller's business, and its state, which
    /// is said afterwards ([`Change::set_root`]).
    pub(crate) async fn append_remote(
        &mut self,
        mut event: StoredEvent,
        servers: BTreeSet<OwnedServerName>,
    ) -> Result<(), Error> {
        event.decision.replaces = self.replaced_by(&event.pdu).await?;
        let event = self.redacted_early(event).await?;
        let event = self.redacting(event).await?;
        self.snapshot.record.depth = self.snapshot.record.depth.max(event.pdu.depth());
        match event.decision.order {
            Some(_) => self.keep(event),
            None => self.add(event, Place::Live(servers)),
        }
        Ok(())
    }

    /// Sends what is sent to all to `servers` as well, which are not in the room any more. It must be nothing that
    /// is not for them.
    pub(super) fn also_tell(&mut self, servers: BTreeSet<OwnedServerName>) {
        self.told = servers;
    }

    /// The servers that an event is sent to which is sent to all.
    async fn destinations(&self, event: &StoredEvent) -> Result<BTreeSet<OwnedServerName>, Error> {
        let own = self.homeserver.server_name();
        let mut destinations = self.others(own).await?;
        destinations.extend(self.joining.iter().cloned());
        destinations.extend(self.told.iter().cloned());
        destinations.extend(removed_server(event));
        destinations.remove(own);
        Ok(destinations)
    }

    /// The servers that were in the room before this change, but ourselves and `except`.
    pub(crate) async fn others(&self, except: &ServerName) -> Result<BTreeSet<OwnedServerName>, Error> {
        self.homeserver.others(&self.before, except).await
    }

    /// If `event` brings a new server into the room, sends that what users of this server have said beside it:
    /// when they did, nobody here knew of the newcomer.
    pub(crate) async fn tell_newcomer(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let own = self.homeserver.server_name();
        let Some(newcomer) = joined_server(event).filter(|server| server != own) else {
            return Ok(());
        };
        if self.others(own).await?.contains(&newcomer) {
            return Ok(());
        }
        let beside = self.known_events(&self.snapshot.record.extremities).await?;
        for event in beside
            .into_iter()
            .filter(|event| self.homeserver.is_local(event.sender()))
        {
            if event.state_key().is_none() && !self.homeserver.server_may_see(&newcomer, &event).await? {
                continue;
            }
            if let Some(position) = event.decision.order.and_then(|order| u64::try_from(order).ok()) {
                let servers = ordered::set([newcomer.clone()]);
                Outbox::store(&mut self.batch, &servers, position, &event);
                self.belated.push((position, servers, event));
            }
        }
        Ok(())
    }

    async fn replaced_by(&self, pdu: &Pdu) -> Result<Option<OwnedEventId>, Error> {
        let Some(state_key) = pdu.state_key() else {
            return Ok(None);
        };
        let kind = pdu.event_type().to_string();
        let root = &self.snapshot.record.state;
        let found = self
            .homeserver
            .tree_get(root, &[(&kind, state_key)], &self.nodes)
            .await?;
        Ok(found.into_iter().next().flatten())
    }
}

/// The server of the user whom `event` joins to its room.
pub(crate) fn joined_server(event: &StoredEvent) -> Option<OwnedServerName> {
    let is_join = event.kind() == MEMBER && event.content_text("membership") == Some("join");
    let user_id = UserId::parse(event.state_key().filter(|_| is_join)?).ok()?;
    Some(user_id.server_name().to_owned())
}

/// The server of the user whom `event` removes: it hears of it, though it may have no member left.
pub(crate) fn removed_server(event: &StoredEvent) -> Option<OwnedServerName> {
    let removed = matches!(event.content_text("membership"), Some("leave" | "ban"));
    if event.kind() != MEMBER || !removed {
        return None;
    }
    Some(UserId::parse(event.state_key()?).ok()?.server_name().to_owned())
}
