//! Messages of local users that wait for their room. Those that come while the room is being changed are sent
//! together: built one upon the other, stored by one commit.
//!
//! Each is authorised on its own, and answered when the commit is durable. If that fails, all of them fail, and
//! none has happened. Nothing here builds on what is not stored.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::channel::oneshot;
use hearth_storage::Table;
use ruma_common::{EventId, OwnedEventId};

use crate::{
    Error, Homeserver,
    rooms::{answers::Answer, append::Audience, change::Change, draft::Draft, room::Room},
};

/// The most messages of one commit.
const MAX_TOGETHER: usize = 50;

/// Messages that wait for a room, oldest first.
#[derive(Default)]
pub(crate) struct Outgoing {
    messages: Mutex<Vec<Message>>,
}

/// A message, and whom to tell what became of it.
struct Message {
    /// The key of its transaction.
    key: Vec<u8>,
    draft: Draft,
    done: oneshot::Sender<Outcome>,
}

/// What became of a message. Where it was sent, its device is owed the answer.
type Outcome = Result<(OwnedEventId, Option<Answer>), Error>;

impl Outgoing {
    fn push(&self, message: Message) {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message);
    }

    /// Whether a message of the transaction `key` still waits.
    fn holds(&self, key: &[u8]) -> bool {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().any(|message| message.key == key)
    }

    /// Takes those out that go first, but for those that nobody waits for any more.
    fn take(&self) -> Vec<Message> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.retain(|message| !message.done.is_canceled());
        let first = messages.len().min(MAX_TOGETHER);
        messages.drain(..first).collect()
    }
}

impl Homeserver {
    /// Sends `draft` to the end of `room`. Fails, or returns the id of what was sent then, if its transaction,
    /// whose key in `Table::Accounts` is `key`, has sent it before.
    pub(super) async fn send_once(
        &self,
        room: &Arc<Room>,
        key: Vec<u8>,
        draft: Draft,
    ) -> Result<OwnedEventId, Error> {
        let mut outcome = room.wait(&key, &draft);
        loop {
            let change = self.change(room).await;
            self.send_waiting(room, change).await;
            if room.outgoing.holds(&key) {
                // Others were before it.
                continue;
            }
            // Whoever took it along may still have to tell: only waiting gives them their turn on a single thread.
            match outcome.await {
                Ok(outcome) => return outcome.map(|(event_id, _)| event_id),
                // They went away. It was sent or it was not: the key tells.
                Err(oneshot::Canceled) => outcome = room.wait(&key, &draft),
            }
        }
    }

    /// Sends what waits for the room that `change` is of.
    async fn send_waiting(&self, room: &Room, mut change: Change<'_>) {
        let messages = room.outgoing.take();
        let before = match self.repeated(&messages).await {
            Ok(before) => before,
            Err(error) => return refuse(messages, &error),
        };
        let mut sent = HashMap::new();
        let mut waiting = Vec::new();
        let mut messages = messages.into_iter().zip(before);
        for (message, before) in messages.by_ref() {
            let Message { key, draft, done } = message;
            if let Some(event_id) = before.or_else(|| sent.get(&key).cloned()) {
                waiting.push((done, event_id, None));
                continue;
            }
            let pdu = match self.propose_message(&change, draft.clone()).await {
                Ok(pdu) => pdu,
                Err(error) => {
                    let _ = done.send(Err(error));
                    continue;
                }
            };
            let event_id = pdu.event_id().to_owned();
            waiting.push((done, event_id.clone(), self.owed_for(&draft)));
            change
                .batch
                .insert(Table::Accounts, key.clone(), event_id.as_bytes());
            if let Err(error) = change.append(pdu, draft.transaction, Audience::Room).await {
                // The change is half-made, so nothing of it may be committed.
                refuse(messages.map(|(message, _)| message), &error);
                return tell(waiting, &Err(error));
            }
            sent.insert(key, event_id);
        }
        let outcome = match sent.is_empty() {
            true => Ok(()),
            false => change.commit().await.map(drop),
        };
        tell(waiting, &outcome);
    }

    /// The answer that the device is owed that sends `draft`.
    fn owed_for(&self, draft: &Draft) -> Option<Answer> {
        let (device_id, _) = draft.transaction.as_ref()?;
        Some(self.answers.owe(&draft.sender, device_id))
    }

    async fn propose_message(&self, change: &Change<'_>, draft: Draft) -> Result<hearth_rooms::Pdu, Error> {
        self.check_redaction(change, &draft).await?;
        self.check_relation(change, &draft).await?;
        change.propose(draft).await
    }

    /// Which of `messages` were sent before. Of a single one the commit finds out, for it fails alone.
    async fn repeated(&self, messages: &[Message]) -> Result<Vec<Option<OwnedEventId>>, Error> {
        if messages.len() < 2 {
            return Ok(vec![None; messages.len()]);
        }
        let keys: Vec<_> = messages.iter().map(|message| message.key.clone()).collect();
        self.sent_before(&keys).await
    }

    /// What the transactions with these keys have sent.
    pub(super) async fn sent_before(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<OwnedEventId>>, Error> {
        let values = self.seams.store.get_many(Table::Accounts, keys).await?;
        let event_id = |value: Vec<u8>| {
            let text = str::from_utf8(&value).ok();
            let event_id = text.and_then(|text| EventId::parse(text).ok());
            event_id.ok_or_else(|| Error::Damaged("transaction id".into()))
        };
        values
            .into_iter()
            .map(|value| value.map(event_id).transpose())
            .collect()
    }
}

impl Room {
    /// Puts a message among those that wait; says what became of it.
    fn wait(&self, key: &[u8], draft: &Draft) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.outgoing.push(Message {
            key: key.to_vec(),
            draft: draft.clone(),
            done,
        });
        outcome
    }
}

fn refuse(messages: impl IntoIterator<Item = Message>, error: &Error) {
    for message in messages {
        // Who asked may be gone.
        let _ = message.done.send(Err(error.clone()));
    }
}

type Waiting = Vec<(oneshot::Sender<Outcome>, OwnedEventId, Option<Answer>)>;

fn tell(waiting: Waiting, outcome: &Result<(), Error>) {
    for (done, event_id, answer) in waiting {
        let _ = done.send(outcome.clone().map(|()| (event_id, answer)));
    }
}
