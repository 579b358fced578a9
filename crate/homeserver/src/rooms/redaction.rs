//! What redactions do. Spec: Room Version 3, section 'Handling redactions'.
//!
//! Up to room version 2 the authorisation rules say who may redact what. From version 3 on they let every redaction
//! into the graph; it takes effect if its sender had the power where it stands, or if target and redaction come from one
//! server, and never on what a room cannot do without. Until its target is known that cannot be told, so until then
//! clients do *not* see it. Who has lost the power since may have placed a redaction where they still had it: theirs
//! counts only if what took the power from them follows it.

use std::collections::BTreeSet;

use hearth_rooms::ordered;
use hearth_storage::Table;
use ruma_common::{EventId, OwnedServerName, RoomId, ServerName, UserId};

use crate::{
    Error,
    rooms::{
        change::Change,
        event::{Decision, StoredEvent},
        send::KEPT,
        view::{CREATE, POWER_LEVELS, View},
    },
};

/// How many changes of the power levels are looked at for the one that took its sender the power to redact.
const MAX_LEVELS: usize = 100;
/// How many events before that are looked through for the redaction.
const MAX_SEEN: usize = 200;

/// What a redaction may redact.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// Every event of its room.
    Room,
    /// What users of one server sent.
    Server(OwnedServerName),
}

impl Reach {
    fn covers(&self, target: &StoredEvent) -> bool {
        match self {
            Self::Room => true,
            Self::Server(server) => target.sender().server_name() == server,
        }
    }
}

impl Change<'_> {
    /// Applies `event`, which was accepted, if it is a redaction; returns it with the note whether clients may
    /// see it.
    pub(crate) async fn redacting(&mut self, event: StoredEvent) -> Result<StoredEvent, Error> {
        if event.kind() != "m.room.redaction" {
            return Ok(event);
        }
        let decision = Decision {
            held: !self.redact(&event).await?,
            ..event.decision.clone()
        };
        Ok(event.decided(decision))
    }

    /// Applies a redaction to its target, and notes it for when the target comes (again). Whether it took effect.
    async fn redact(&mut self, event: &StoredEvent) -> Result<bool, Error> {
        let Some(target_id) = event.pdu.redacts() else {
            return Ok(false);
        };
        let reach = self.reach(event).await?;
        let key = early_key(event.room_id(), target_id, &reach);
        let target = self.known_events(&[target_id.to_owned()]).await?.pop();
        let Some(target) = target.filter(|target| !target.decision.rejected) else {
            self.note_redaction(key, event);
            return Ok(false);
        };
        let is_kept = KEPT.contains(&target.kind());
        if is_kept || target.room_id() != event.room_id() || !reach.covers(&target) {
            return Ok(false);
        }
        self.note_redaction(key, event);
        self.outdate(&target);
        self.rewrite(redacted(&target, event)?);
        Ok(true)
    }

    /// Notes a redaction under `key`, for its target that may be stored by this very change.
    fn note_redaction(&mut self, key: Vec<u8>, redaction: &StoredEvent) {
        self.batch
            .put(Table::Events, key.clone(), redaction.event_id.as_bytes());
        self.redactions.insert(key, redaction.clone());
    }

    /// What a redaction may redact: by the state where it stands, and by what has become of its sender's power since.
    async fn reach(&mut self, redaction: &StoredEvent) -> Result<Reach, Error> {
        let sender = redaction.sender();
        let own = Reach::Server(sender.server_name().to_owned());
        let Some(root) = &redaction.decision.state_before else {
            return Ok(own);
        };
        let before = self.view_at(root, &[CREATE, POWER_LEVELS]).await?;
        let rules = &redaction.pdu.version().rules().authorization;
        // Where the rules look at it, that it was accepted says that it may.
        if !rules.special_case_room_redaction && !may_redact(&before, sender) {
            return Ok(own);
        }
        let mut now = self.view(&[CREATE, POWER_LEVELS]).await?;
        if !may_redact(&now, sender) {
            let beside = self.state_beside(root).await?;
            now = self.view_at(&beside, &[CREATE, POWER_LEVELS]).await?;
        }
        let counts = may_redact(&now, sender) || self.is_before_demotion(redaction, &before, &now).await?;
        Ok(if counts { Reach::Room } else { own })
    }

    /// Whether `redaction` lies in the past of the power levels by which its sender lost the power that they had in the
    /// state `before`, and have not in that of `now`. Both need [`CREATE`] and [`POWER_LEVELS`].
    async fn is_before_demotion(
        &self,
        redaction: &StoredEvent,
        before: &View,
        now: &View,
    ) -> Result<bool, Error> {
        let levels = |state: &View| state.get(POWER_LEVELS.0, POWER_LEVELS.1).cloned();
        let (had, mut later) = (levels(before).map(|had| had.event_id.clone()), levels(now));
        let mut demotion = None;
        for _ in 0..MAX_LEVELS {
            let Some(one) = later.filter(|one| Some(&one.event_id) != had.as_ref()) else {
                break;
            };
            let mut state = before.clone();
            state.extend([one.clone()]);
            let replaced = self.known_events(one.pdu.auth_events()).await?;
            later = replaced.into_iter().find(|event| event.kind() == POWER_LEVELS.0);
            if !may_redact(&state, redaction.sender()) {
                demotion = Some(one);
            }
        }
        let Some(demotion) = demotion else {
            return Ok(false);
        };
        let mut open = demotion.pdu.prev_events().to_vec();
        let mut seen: BTreeSet<_> = ordered::set(open.iter().cloned());
        while !open.is_empty() && seen.len() < MAX_SEEN && !seen.contains(&redaction.event_id) {
            let known = self.known_events(&open).await?;
            // What is no deeper than the redaction does not follow it.
            let deeper = known.iter().filter(|event| event.depth() > redaction.depth());
            let prev = deeper.flat_map(|event| event.pdu.prev_events().to_vec());
            open = prev.filter(|id| seen.insert(id.clone())).collect();
        }
        Ok(seen.contains(&redaction.event_id))
    }

    /// `event` as a redaction that came before it leaves it. That one may be seen from now on.
    pub(crate) async fn redacted_early(&mut self, event: StoredEvent) -> Result<StoredEvent, Error> {
        if KEPT.contains(&event.kind()) {
            return Ok(event);
        }
        let own = Reach::Server(event.sender().server_name().to_owned());
        for reach in [Reach::Room, own] {
            let Some(redaction) = self.noted_redaction(&event, &reach).await? else {
                continue;
            };
            let event = redacted(&event, &redaction)?;
            if redaction.decision.held {
                let decision = Decision {
                    held: false,
                    ..redaction.decision.clone()
                };
                self.rewrite(redaction.decided(decision));
            }
            return Ok(event);
        }
        Ok(event)
    }

    /// The redaction of `target` that was noted, if it was accepted.
    async fn noted_redaction(
        &self,
        target: &StoredEvent,
        reach: &Reach,
    ) -> Result<Option<StoredEvent>, Error> {
        let key = early_key(target.room_id(), &target.event_id, reach);
        if let Some(redaction) = self.redactions.get(&key) {
            // As this change stores it by now, if it has come to that.
            let stored = self.own_event(&redaction.event_id);
            return Ok(Some(
                stored.map_or_else(|| redaction.clone(), |event| StoredEvent::clone(event)),
            ));
        }
        let Some(value) = self.homeserver().seams.store.get(Table::Events, &key).await? else {
            return Ok(None);
        };
        let damaged = || Error::Damaged("redaction".into());
        let text = str::from_utf8(&value).map_err(|_| damaged())?;
        let redaction = EventId::parse(text).map_err(|_| damaged())?;
        let redaction = self.homeserver().stored_event(&redaction).await?;
        Ok(redaction.map(|redaction| StoredEvent::clone(&redaction)))
    }
}

/// Whether a user may redact what others sent. `state` needs [`CREATE`] and [`POWER_LEVELS`].
fn may_redact(state: &View, user_id: &UserId) -> bool {
    state.power_level(user_id) >= state.power_field("redact", 50)
}

/// `target` without the content that `redaction` takes. The first one counts.
fn redacted(target: &StoredEvent, redaction: &StoredEvent) -> Result<StoredEvent, Error> {
    if target.decision.redacted_by.is_some() {
        return Ok(target.clone());
    }
    let pdu = target
        .pdu
        .redacted()
        .map_err(|error| Error::Damaged(error.to_string()))?;
    let decision = Decision {
        redacted_by: Some(redaction.event_id.clone()),
        ..target.decision.clone()
    };
    Ok(StoredEvent::new(pdu, decision))
}

/// The key under which a redaction is noted for its target. One of each reach is enough.
fn early_key(room_id: &RoomId, target: &EventId, reach: &Reach) -> Vec<u8> {
    let reach = match reach {
        Reach::Room => "*",
        Reach::Server(server) => ServerName::as_str(server),
    };
    ["r", room_id.as_str(), target.as_str(), reach]
        .join("\0")
        .into_bytes()
}
