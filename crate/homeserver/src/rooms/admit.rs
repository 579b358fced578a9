//! Taking in events whose past is not simply the room as it is. Spec: Server-Server API, section 'Checks
//! performed on receipt of a PDU', steps 4 to 6.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use hearth_rooms::{
    Pdu, Rejection,
    auth_check::{check_auth_events, check_state, needed_events},
    auth_selection::auth_types_of,
    ordered,
};
use hearth_storage::BoxFuture;
use ruma_common::{OwnedEventId, OwnedServerName};
use ruma_events::StateEventType;

use crate::{
    Error,
    federation::same_id::ID_IS_TAKEN,
    rooms::{
        change::Change,
        event::{Decision, StoredEvent},
        tree::StateEntry,
    },
};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the timeline.
    Accepted,
    /// The rules refuse it.
    Rejected(String),
    /// The room's present state refuses it.
    SoftFailed(String),
}

impl Change<'_> {
    /// Takes in `pdu`, whose signatures were verified and whose auth events are known, and sends it to
    /// `servers` if it is accepted. `state_before` is the root of the state before it, if it was learned from
    /// elsewhere; else all its prev events must be known, with their state.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(crate) fn admit(
        &mut self,
        pdu: Pdu,
        state_before: Option<String>,
        servers: BTreeSet<OwnedServerName>,
    ) -> BoxFuture<'_, Result<Outcome, Error>> {
        Box::pin(async move {
            if pdu.prev_events().is_empty() {
                // Only a create event may follow nothing, and this room has its own.
                return Ok(Outcome::Rejected("the event follows no other".into()));
            }
            if self.homeserver().id_is_taken(&pdu).await? {
                return Ok(Outcome::Rejected(ID_IS_TAKEN.into()));
            }
            let after_gap = state_before.is_some();
            let (root, partial) = match state_before {
                Some(root) => (root, false),
                None => (self.state_at_prev(&pdu).await?, self.is_partial_at(&pdu).await?),
            };
            let now = match after_gap {
                true => self.state_beside(&root).await?,
                false => self.snapshot.record.state.clone(),
            };
            let outcome = self.judge(&pdu, &root, partial, &now).await?;
            let shown = self.shown(&pdu).await?;
            let place = shown.as_ref().and_then(|event| event.decision.order);
            let decision = Decision {
                order: place.filter(|_| outcome == Outcome::Accepted),
                state_before: Some(root.clone()),
                rejected: matches!(outcome, Outcome::Rejected(_)),
                soft_failed: matches!(outcome, Outcome::SoftFailed(_)),
                partial,
                ..Decision::new(pdu.room_id())
            };
            let event = StoredEvent::new(pdu, decision);
            self.note_taken_in(&event.event_id);
            if outcome != Outcome::Accepted {
                shown.iter().for_each(|event| self.take_out(event));
                self.keep(event);
                return Ok(outcome);
            }
            let doubtful = self.add_extremity(&event, after_gap).await?;
            if after_gap {
                self.note_followed(&event).await?;
            }
            self.tell_newcomer(&event).await?;
            self.append_remote(event, servers).await?;
            self.advance_state().await?;
            self.forget_followed(&doubtful).await?;
            Ok(outcome)
        })
    }

    /// `pdu` as it is stored, if it was put into the timeline as part of history, where the state before it is not
    /// always known.
    async fn shown(&self, pdu: &Pdu) -> Result<Option<Arc<StoredEvent>>, Error> {
        let known = self.known_events(&[pdu.event_id().to_owned()]).await?.pop();
        Ok(known.filter(|event| event.decision.order.is_some()))
    }

    /// Whether the state before `pdu` lacks members, as that before the events that it follows does.
    pub(crate) async fn is_partial_at(&self, pdu: &Pdu) -> Result<bool, Error> {
        let prev = self.known_events(pdu.prev_events()).await?;
        Ok(prev.iter().any(|event| event.decision.partial))
    }

    /// The current state for judging an event before which the state is `root`, as was learned from elsewhere: what
    /// led to it was missed here, so it counts as a branch beside those that are known. Else whoever came in
    /// unnoticed would be refused, and what they say be lost. What the room has decided against holds in either,
    /// because resolution prefers it: nobody gets round a ban by making a gap.
    pub(super) async fn state_beside(&mut self, root: &str) -> Result<String, Error> {
        let current = self.snapshot.record.state.clone();
        if self.snapshot.is_partial() || current == root {
            return Ok(current);
        }
        self.resolve(ordered::set([current, root.to_owned()])).await
    }

    /// What is to become of `pdu`, before which the state was `root`, where `now` is the current one. If the first
    /// is `partial`, or the room is, a member that it lacks is taken to be what the event itself names: that is
    /// looked at again when all are there.
    pub(crate) async fn judge(
        &self,
        pdu: &Pdu,
        root: &str,
        partial: bool,
        now: &str,
    ) -> Result<Outcome, Error> {
        let listed = match self.allowing_events(pdu).await? {
            Ok(listed) => listed,
            Err(rejection) => return Ok(Outcome::Rejected(rejection.0)),
        };
        let types = match auth_types_of(pdu) {
            Ok(types) => types,
            Err(rejection) => return Ok(Outcome::Rejected(rejection.0)),
        };
        let named = |kind: &StateEventType, key: &str| {
            let is_it = |event: &&Pdu| event.is_state(&kind.to_string().into(), key) && !event.rejected();
            let is_member = *kind == StateEventType::RoomMember;
            listed.values().find(is_it).filter(|_| is_member).cloned()
        };
        let before = self.authorising(root, &types).await?;
        let named_before = |kind: &_, key: &_| named(kind, key).filter(|_| partial);
        if let Err(rejection) = check_state(pdu, |kind, key| {
            before.pdu(kind, key).or_else(|| named_before(kind, key))
        }) {
            return Ok(Outcome::Rejected(rejection.0));
        }
        let now = self.authorising(now, &types).await?;
        let named_now = |kind: &_, key: &_| named(kind, key).filter(|_| self.snapshot.is_partial());
        let allowed_now = check_state(pdu, |kind, key| {
            now.pdu(kind, key).or_else(|| named_now(kind, key))
        });
        Ok(match allowed_now {
            Err(rejection) => Outcome::SoftFailed(rejection.0),
            Ok(()) => Outcome::Accepted,
        })
    }

    /// The events that `pdu` rests on, by their ids, if these allow it.
    pub(crate) async fn allowing_events(
        &self,
        pdu: &Pdu,
    ) -> Result<Result<HashMap<OwnedEventId, Pdu>, Rejection>, Error> {
        let listed = self.known_events(&needed_events(pdu)).await?;
        let listed: HashMap<_, _> = listed
            .iter()
            .map(|event| (event.event_id.clone(), event.pdu.clone()))
            .collect();
        let allowed = check_auth_events(pdu, |event_id| listed.get(event_id).cloned());
        Ok(allowed.map(|()| listed))
    }

    /// The root of the state before `pdu`, as its prev events leave it.
    pub(super) async fn state_at_prev(&mut self, pdu: &Pdu) -> Result<String, Error> {
        let prev: BTreeSet<_> = ordered::set(pdu.prev_events().iter());
        if prev == self.snapshot.record.extremities.iter().collect() {
            return Ok(self.snapshot.record.state.clone());
        }
        self.state_after_all(pdu.prev_events()).await
    }

    /// Makes the current state what the extremities together leave.
    pub(super) async fn advance_state(&mut self) -> Result<(), Error> {
        let ends = self.bounded_extremities().await?;
        let root = self.joined_state(ends).await?;
        self.set_root(root);
        Ok(())
    }

    /// The root of the state after all of `event_ids`; `None` if one of them is not known with its state.
    pub(crate) async fn known_state_after(
        &mut self,
        event_ids: &[OwnedEventId],
    ) -> Result<Option<String>, Error> {
        let states = self.states_after(event_ids).await?;
        if event_ids.is_empty() || states.len() < event_ids.len() {
            return Ok(None);
        }
        self.joined_state(states).await.map(Some)
    }

    /// The root of the state after all of `event_ids`, resolved if they disagree.
    async fn state_after_all(&mut self, event_ids: &[OwnedEventId]) -> Result<String, Error> {
        let states = self.states_after(event_ids).await?;
        self.joined_state(states).await
    }

    /// The root of the state after each of `event_ids` of which that is known. Events of other rooms have none here.
    pub(crate) async fn states_after(
        &mut self,
        event_ids: &[OwnedEventId],
    ) -> Result<Vec<(OwnedEventId, String)>, Error> {
        let mut states = Vec::with_capacity(event_ids.len());
        for event in self.known_events(event_ids).await? {
            let before = event.decision.state_before.clone();
            let Some(before) = before.filter(|_| event.room_id() == self.room_id()) else {
                continue;
            };
            let changes = event.state_key().is_some() && !event.decision.rejected;
            let after = match changes {
                true => self.insert_state(&before, vec![StateEntry::of(&event)]).await?,
                false => before,
            };
            states.push((event.event_id.clone(), after));
        }
        Ok(states)
    }

    /// The root of the state that `states` leave together. Equal ones count as one, so that most often there is
    /// nothing to resolve.
    pub(super) async fn joined_state(
        &mut self,
        states: Vec<(OwnedEventId, String)>,
    ) -> Result<String, Error> {
        let roots: BTreeSet<_> = ordered::set(states.into_iter().map(|(_, root)| root));
        match roots.len() {
            0 => Err(Error::Damaged("the state before an event is not known".into())),
            1 => Ok(roots.into_iter().next().unwrap_or_default()),
            _ => self.resolve(roots).await,
        }
    }
}
