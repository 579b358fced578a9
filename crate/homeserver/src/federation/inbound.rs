//! Transactions of other servers. Spec: Server-Server API, sections 'Transactions' and 'PDUs'.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hearth_rooms::{Pdu, RoomVersion, event_id::event_id};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    deadline::{Late, within},
    encryption::KnownServers,
    federation::{acl::is_denied, received::verified, same_id::ID_IS_TAKEN},
    rooms::{admit::Outcome, room::Room, view::SERVER_ACL},
    stored::{from_slice, to_vec},
};

/// The most events in a transaction.
const MAX_PDUS: usize = 50;
/// The most EDUs in a transaction.
const MAX_EDUS: usize = 100;
/// The most events of one transaction whose past is asked for: a bound on the work that a transaction makes.
const MAX_GAPS: usize = 5;
/// How long that may take for all of them: whoever sent the transaction waits for 60 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The last transaction of a server, and what it was answered.
#[derive(Serialize, Deserialize)]
struct Received {
    txn_id: String,
    answer: Value,
}

/// How much may still be asked for of what came before events.
pub(crate) struct Gaps {
    /// Of how many events.
    left: usize,
    /// When it has taken too long, in milliseconds since the Unix epoch.
    until: u64,
    /// Whether a server may be asked that is not known to be in the room.
    pub(crate) with_strangers: bool,
}

/// Why an event of a transaction was not taken in.
pub(crate) struct Refusal(pub(crate) String);

impl Gaps {
    /// Whether it has taken too long.
    pub(crate) fn are_over(&self, now: u64) -> bool {
        now >= self.until
    }
}

impl Homeserver {
    /// Takes in a transaction (`PUT /send/{txnId}`), and answers `{"pdus": {event_id: {}|{"error"}}}`. The same
    /// transaction again gets the same answer.
    ///
    /// # Errors
    /// [`Error::BadJson`] if it is malformed, [`Error::InvalidParam`] over 50 PDUs or 100 EDUs; [`Error::Store`] or
    /// [`Error::Unreachable`] if it is to be sent again: a room of it is just being joined.
    pub async fn receive_transaction(
        &self,
        origin: &ServerName,
        txn_id: &str,
        body: Value,
    ) -> Result<Value, Error> {
        self.wake_sender(origin);
        let (pdus, mut edus) = parts(body)?;
        if let Some(answer) = self.answered_before(origin, txn_id).await? {
            return Ok(answer);
        }
        let mut results = JsonObject::new();
        let mut gaps = self.gaps(MAX_GAPS, PATIENCE);
        for value in pdus {
            if let Some((event_id, result)) = self.receive_pdu(origin, value, &mut gaps).await? {
                results.insert(event_id.to_string(), result);
            }
        }
        if edus.iter().any(looks_up_much) && self.rooms_shared_with(origin).await?.is_empty() {
            edus.retain(|edu| !looks_up_much(edu));
        }
        let mut known = None;
        for edu in edus {
            self.receive_edu(origin, &edu, &mut known).await?;
        }
        let answer = json!({ "pdus": results });
        self.note_answer(origin, txn_id, &answer).await?;
        Ok(answer)
    }

    async fn answered_before(&self, origin: &ServerName, txn_id: &str) -> Result<Option<Value>, Error> {
        let value = self
            .seams
            .store
            .get(Table::Federation, &received_key(origin))
            .await?;
        let received: Option<Received> = value.map(|value| from_slice(&value)).transpose()?;
        Ok(received
            .filter(|received| received.txn_id == txn_id)
            .map(|received| received.answer))
    }

    async fn note_answer(&self, origin: &ServerName, txn_id: &str, answer: &Value) -> Result<(), Error> {
        let received = Received {
            txn_id: txn_id.to_owned(),
            answer: answer.clone(),
        };
        let mut batch = WriteBatch::new();
        batch.put(Table::Federation, received_key(origin), to_vec(&received)?);
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Takes in one event, or holds it if what came before it cannot be had now. `None` if it is of no room that
    /// this server is in.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Unreachable`] if the room is just being joined: then the transaction has to be
    /// sent again.
    pub(crate) async fn receive_pdu(
        &self,
        origin: &ServerName,
        value: Value,
        gaps: &mut Gaps,
    ) -> Result<Option<(OwnedEventId, Value)>, Error> {
        let room_id = value
            .get("room_id")
            .and_then(Value::as_str)
            .and_then(|id| RoomId::parse(id).ok());
        let Some(room_id) = room_id else { return Ok(None) };
        let Some(room) = self.resident_room(&room_id).await? else {
            return match self.joins.is_under_way(&room_id) {
                true => Err(Error::Unreachable("the room is still being joined".into())),
                false => self.take_from_outside(origin, &room_id, value).await,
            };
        };
        let version = room.snapshot().version();
        let Some(event_id) = id_of(version, &value) else {
            return Ok(None);
        };
        let outcome = match verified(version, value) {
            Ok(_) if is_denied(origin, &self.view(&room.snapshot(), &[SERVER_ACL]).await?) => {
                Err(Refusal("the room's access list denies your server".into()))
            }
            Ok(pdu) => match self.take_in(origin, &room, pdu.clone(), gaps).await {
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => self.set_aside(origin, &pdu, error).await?,
                Ok(outcome) => outcome,
            },
            Err(reason) => Err(Refusal(reason)),
        };
        let result = match outcome {
            Ok(()) => json!({}),
            Err(Refusal(reason)) => {
                tracing::warn!(%origin, %event_id, reason, "an event was refused");
                json!({ "error": reason })
            }
        };
        Ok(Some((event_id, result)))
    }

    /// Holds an event that was not taken in because of `error`. If there is no place for it, heads are compared
    /// with whoever sent it.
    async fn set_aside(
        &self,
        origin: &ServerName,
        pdu: &Pdu,
        error: Error,
    ) -> Result<Result<(), Refusal>, Error> {
        let event_id = pdu.event_id();
        tracing::info!(%origin, %event_id, %error, "an event has to wait for what came before it");
        if self.hold(origin, pdu).await? {
            return Ok(Ok(()));
        }
        self.compare_heads_soon(origin);
        Ok(Err(Refusal(error.to_string())))
    }

    /// Takes in a verified event, after what came before it, which `origin` is asked for if it is in the room; or if
    /// `gaps` let strangers be asked, and the event shows that its author joined the room once.
    ///
    /// # Errors
    /// [`Error::Store`], and all that says why the past could not be had.
    pub(crate) async fn take_in(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdu: Pdu,
        gaps: &mut Gaps,
    ) -> Result<Result<(), Refusal>, Error> {
        if self.id_is_taken(&pdu).await? {
            return Ok(Err(Refusal(ID_IS_TAKEN.into())));
        }
        if self.is_settled(pdu.event_id()).await? {
            return self.recall(room, pdu.event_id()).await.map(Ok);
        }
        if self.past_is_known(&pdu).await? {
            return self.admit_or_refuse(room, pdu, None).await;
        }
        let unreachable = |reason: &str| Error::Unreachable(reason.into());
        let is_member = self.has_server(&room.room_id, origin).await?;
        if !is_member && !gaps.with_strangers {
            return Err(unreachable("a server that is not in the room fills no gaps"));
        }
        gaps.left = gaps
            .left
            .checked_sub(1)
            .ok_or_else(|| unreachable("there are too many gaps to fill at once"))?;
        let rest = Duration::from_millis(gaps.until.saturating_sub(self.now()));
        let filling = async {
            let _inbound = room.inbound.lock().await;
            self.learn_auth_events(origin, room, &pdu).await?;
            if !is_member && !self.rests_on_join(&pdu).await? {
                return Err(unreachable("the event shows no join of who sent it"));
            }
            let state_before = self.fill_past(origin, room, &pdu).await?;
            self.admit_or_refuse(room, pdu, state_before).await
        };
        within(&*self.seams.clock, rest, filling)
            .await
            .unwrap_or_else(|Late| Err(unreachable("it takes too long to fill the gap")))
    }

    /// What may be asked for of what came before `count` events, for `patience` in all.
    pub(crate) fn gaps(&self, count: usize, patience: Duration) -> Gaps {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        Gaps {
            left: count,
            until: self.now().saturating_add(patience),
            with_strangers: false,
        }
    }

    async fn admit_or_refuse(
        &self,
        room: &Arc<Room>,
        pdu: Pdu,
        state_before: Option<String>,
    ) -> Result<Result<(), Refusal>, Error> {
        match self.admit_one(room, pdu, state_before).await {
            // No other attempt would fare better.
            Err(error) if !matches!(error, Error::Store(_)) => Ok(Err(Refusal(error.to_string()))),
            taken => taken,
        }
    }

    /// Whether an event is stored and was judged: outliers are not.
    pub(crate) async fn is_settled(&self, event_id: &EventId) -> Result<bool, Error> {
        let event = self.stored_event(event_id).await?;
        Ok(event.is_some_and(|event| event.decision.state_before.is_some()))
    }

    /// Takes in one event whose past is known.
    pub(crate) async fn admit_one(
        &self,
        room: &Arc<Room>,
        pdu: Pdu,
        state_before: Option<String>,
    ) -> Result<Result<(), Refusal>, Error> {
        let mut change = self.change(room).await;
        if !self.id_is_taken(&pdu).await? && self.is_settled(pdu.event_id()).await? {
            return Ok(Ok(()));
        }
        if change.snapshot.members().local == 0 {
            return Ok(Err(Refusal("this server has left the room".into())));
        }
        let event_id = pdu.event_id().to_owned();
        let follows_gap = self.follows_gap(room, &pdu).await?;
        let outcome = change.admit(pdu, state_before, BTreeSet::new()).await?;
        let after_gap = follows_gap && outcome == Outcome::Accepted;
        if after_gap {
            change.note_gap(&event_id);
            self.leave_gap();
        }
        change.commit().await?;
        self.merge_later(room);
        if after_gap {
            self.fill_gap(room.clone(), event_id, None);
        }
        Ok(match outcome {
            // A soft-failed event is as good as received: its sender has done nothing wrong.
            Outcome::Accepted | Outcome::SoftFailed(_) => Ok(()),
            Outcome::Rejected(reason) => Err(Refusal(reason)),
        })
    }

    /// Takes in one EDU. Malformed and unknown ones are passed over.
    async fn receive_edu(
        &self,
        origin: &ServerName,
        edu: &Value,
        known: &mut KnownServers,
    ) -> Result<(), Error> {
        let Some(content) = edu.get("content").and_then(Value::as_object) else {
            return Ok(());
        };
        let result = match edu.get("edu_type").and_then(Value::as_str) {
            Some("m.typing") => self.receive_typing(origin, content).await,
            Some("m.presence") => self.receive_presence(origin, content).await,
            Some("m.receipt") => self.receive_receipts(origin, content).await,
            Some("m.direct_to_device") => self.receive_direct_to_device(origin, content, known).await,
            Some("m.device_list_update") => self.receive_device_list_update(origin, content).await,
            Some("m.signing_key_update") => self.receive_signing_key_update(origin, content).await,
            _ => Ok(()),
        };
        match result {
            Err(error @ Error::Store(_)) => Err(error),
            Err(error) => {
                tracing::debug!(%origin, %error, "an EDU was passed over");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The events and EDUs of a transaction.
fn parts(body: Value) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let Value::Object(mut body) = body else {
        return Err(Error::BadJson("not an object".into()));
    };
    let mut array = |field: &str, limit: usize| match body.remove(field) {
        Some(Value::Array(values)) if values.len() > limit => Err(Error::InvalidParam(format!(
            "`{field}` has more than {limit} entries"
        ))),
        Some(Value::Array(values)) => Ok(values),
        None if field == "edus" => Ok(Vec::new()),
        _ => Err(Error::BadJson(format!("`{field}` is not an array"))),
    };
    Ok((array("pdus", MAX_PDUS)?, array("edus", MAX_EDUS)?))
}

/// Whether more than a few rows have to be read to see that an EDU is of a server that shares no room with this one.
fn looks_up_much(edu: &Value) -> bool {
    match edu.get("edu_type").and_then(Value::as_str) {
        Some("m.typing" | "m.direct_to_device") => false,
        Some("m.receipt") => edu["content"].as_object().is_some_and(|rooms| rooms.len() > 1),
        _ => true,
    }
}

/// The id of an event that may be malformed in other ways.
fn id_of(version: RoomVersion, value: &Value) -> Option<OwnedEventId> {
    event_id(version, value.as_object()?).ok()
}

fn received_key(origin: &ServerName) -> Vec<u8> {
    [b"i\0", origin.as_bytes()].concat()
}
