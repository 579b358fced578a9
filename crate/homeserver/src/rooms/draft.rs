//! What a local user wants to send, made into an event at the end of the room: laid out, signed and authorised.

use std::{collections::BTreeMap, sync::Arc};

use hearth_rooms::{
    BuildError, EventBuilder, Pdu, PduError, Rejection, auth_check, auth_selection, event_id::Hash,
    pdu::MAX_PREV_EVENTS,
};
use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedUserId, UserId};
use ruma_events::TimelineEventType;

use crate::{
    Error, JsonObject,
    ordered::try_map,
    rooms::{change::Change, event::StoredEvent},
};

/// An event that a local user wants to send.
#[derive(Clone)]
pub(crate) struct Draft {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: JsonObject,
    /// What a redaction redacts.
    pub redacts: Option<OwnedEventId>,
    /// The device and its transaction id.
    pub transaction: Option<(OwnedDeviceId, String)>,
    /// The memberships of which one has to be replaced by this one.
    pub from: Option<&'static [&'static str]>,
}

impl Draft {
    /// A state event.
    pub(crate) fn state(sender: &UserId, kind: &str, state_key: &str, content: JsonObject) -> Self {
        Self {
            state_key: Some(state_key.to_owned()),
            ..Self::message(sender, kind, content)
        }
    }

    /// A message event.
    pub(crate) fn message(sender: &UserId, kind: &str, content: JsonObject) -> Self {
        let (sender, kind) = (sender.to_owned(), kind.to_owned());
        Self {
            sender,
            kind,
            state_key: None,
            content,
            redacts: None,
            transaction: None,
            from: None,
        }
    }

    /// A membership event.
    pub(crate) fn member(sender: &UserId, target: &UserId, content: JsonObject) -> Self {
        Self::state(sender, "m.room.member", target.as_str(), content)
    }
}

impl Change<'_> {
    /// Builds, signs and authorises what a local user sends, without adding it.
    ///
    /// # Errors
    /// As [`Change::send`].
    pub(crate) async fn propose(&self, draft: Draft) -> Result<Pdu, Error> {
        let pdu = self.build(draft).await?;
        self.authorise(&pdu)
            .await?
            .map_err(|rejection| Error::Forbidden(rejection.0))?;
        Ok(pdu)
    }

    /// Builds and signs an event at the end of the room.
    async fn build(&self, draft: Draft) -> Result<Pdu, Error> {
        let version = self.snapshot.version();
        let server_name = self.homeserver.identity.server_name();
        let builder = self.lay_out(draft).await?;
        builder
            .build(version, server_name, self.homeserver.identity.key_pair())
            .map_err(build_error)
    }

    /// Lays out an event at the end of the room.
    pub(crate) async fn lay_out(&self, draft: Draft) -> Result<EventBuilder, Error> {
        let version = self.snapshot.version();
        let event_type = TimelineEventType::from(draft.kind.as_str());
        let auth_events = self.auth_events(&draft, &event_type).await?;
        let names_room = event_type != TimelineEventType::RoomCreate || !version.room_id_is_create_hash();
        let record = &self.snapshot.record;
        let prev_events: Vec<_> = record.extremities.iter().take(MAX_PREV_EVENTS).cloned().collect();
        let reference_hashes = match version.event_names_its_id() {
            true => {
                self.reference_hashes(&[prev_events.as_slice(), &auth_events].concat())
                    .await?
            }
            false => BTreeMap::new(),
        };
        Ok(EventBuilder {
            room_id: names_room.then(|| self.room.room_id.clone()),
            sender: draft.sender,
            event_type,
            state_key: draft.state_key,
            content: draft.content,
            redacts: draft.redacts,
            prev_events,
            auth_events,
            reference_hashes,
            depth: record.depth.saturating_add(1),
            origin_server_ts: self.homeserver.event_timestamp(),
        })
    }

    /// What is to show that `draft` is allowed.
    async fn auth_events(
        &self,
        draft: &Draft,
        event_type: &TimelineEventType,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let content = serde_json::value::to_raw_value(&draft.content)
            .map_err(|error| Error::BadJson(error.to_string()))?;
        let state_key = draft.state_key.as_deref();
        let version = self.snapshot.version();
        let forbidden = |rejection: Rejection| Error::Forbidden(rejection.0);
        let types = auth_selection::auth_types(version, event_type, &draft.sender, state_key, &content)
            .map_err(forbidden)?;
        let state = self.authorising(&self.snapshot.record.state, &types).await?;
        let listed = types
            .iter()
            .filter_map(|(kind, key)| state.get(&kind.to_string(), key));
        Ok(listed.map(|event| event.event_id.clone()).collect())
    }

    /// The reference hashes of known events.
    async fn reference_hashes(&self, ids: &[OwnedEventId]) -> Result<BTreeMap<OwnedEventId, Hash>, Error> {
        let events = self.known_events(ids).await?;
        let hash = |event: &Arc<StoredEvent>| Ok((event.event_id.clone(), event.pdu.reference_hash()?));
        let hashes: Result<_, PduError> = try_map(events.iter().map(hash));
        hashes.map_err(|error| Error::Damaged(error.to_string()))
    }

    /// Whether the present state allows `pdu`.
    pub(crate) async fn authorise(&self, pdu: &Pdu) -> Result<Result<(), Rejection>, Error> {
        let types = match auth_selection::auth_types_of(pdu) {
            Ok(types) => types,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let state = self.authorising(&self.snapshot.record.state, &types).await?;
        Ok(auth_check::check_auth_events(pdu, |event_id| {
            let listed = state.iter().find(|event| event.event_id == event_id);
            listed.map(|event| event.pdu.clone())
        }))
    }
}

/// Says in the terms of the API why an event cannot be made.
pub(crate) fn build_error(error: BuildError) -> Error {
    match error {
        BuildError::Pdu(PduError::TooLarge) => Error::TooLarge(error.to_string()),
        BuildError::Content(_) | BuildError::Pdu(_) => Error::BadJson(error.to_string()),
    }
}
