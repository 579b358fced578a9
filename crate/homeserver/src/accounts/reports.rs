//! Reports of rooms, events and users. Spec: Client-Server API, section 'Reporting Content'.
//!
//! They are kept for whoever administers this homeserver, who reads them here; nothing is sent to other servers.

use hearth_storage::{Entry, Table, WriteBatch};
use ruma_common::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `k\0` + time + random bytes in `Table::Accounts`.
const PREFIX: &[u8] = b"k\0";
/// The most reports that are kept.
const MAX_KEPT: usize = 1_000;
/// The most bytes of a reason.
const MAX_REASON: usize = 4 * 1024;

/// A report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub reporter: OwnedUserId,
    /// The room, event or user.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub received_ts: u64,
}

/// What is reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subject {
    /// An event.
    Event {
        /// Its room.
        room_id: ruma_common::OwnedRoomId,
        /// The event.
        event_id: ruma_common::OwnedEventId,
    },
    /// A room.
    Room {
        /// The room.
        room_id: ruma_common::OwnedRoomId,
    },
    /// A user.
    User {
        /// The user.
        user_id: OwnedUserId,
    },
}

impl Homeserver {
    /// Keeps a report of `reporter`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the reporter does not know the room, cannot see the event, or the user is known to be none;
    /// [`Error::TooLarge`] if the reason is too long.
    pub async fn report(
        &self,
        reporter: &UserId,
        subject: Subject,
        reason: Option<String>,
    ) -> Result<(), Error> {
        if reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON) {
            return Err(Error::TooLarge(format!(
                "a reason has at most {MAX_REASON} bytes"
            )));
        }
        self.check_reported(reporter, &subject).await?;
        let report = Report {
            reporter: reporter.to_owned(),
            subject,
            reason,
            received_ts: self.now(),
        };
        let mut random = [0; 8];
        self.seams.rng.fill(&mut random);
        let key = [PREFIX, &report.received_ts.to_be_bytes(), &random].concat();
        let kept = scan_all(&*self.seams.store, Table::Accounts, PREFIX).await?;
        let mut batch = WriteBatch::new();
        if kept.len() >= MAX_KEPT {
            batch.delete(Table::Accounts, surplus(&kept, reporter)?);
        }
        batch.put(Table::Accounts, key, to_vec(&report)?);
        Ok(self.seams.store.commit(batch).await?)
    }

    async fn check_reported(&self, reporter: &UserId, subject: &Subject) -> Result<(), Error> {
        let not_found = |what: &str| Error::NotFound(format!("no such {what}"));
        match subject {
            Subject::Event { room_id, event_id } => {
                let event = self
                    .stored_event(event_id)
                    .await?
                    .filter(|event| event.room_id() == room_id);
                let event = event.ok_or_else(|| not_found("event"))?;
                let may = self.is_joined(room_id, reporter).await?
                    && !self.visible_events(reporter, vec![event]).await?.is_empty();
                may.then_some(()).ok_or_else(|| not_found("event"))
            }
            Subject::Room { room_id } => match self.room(room_id).await? {
                Some(_) => Ok(()),
                None if self.user_membership(reporter, room_id).is_some() => Ok(()),
                None => Err(not_found("room")),
            },
            Subject::User { user_id } if self.is_local(user_id) => match self.user_exists(user_id).await? {
                true => Ok(()),
                false => Err(not_found("user")),
            },
            Subject::User { .. } => Ok(()),
        }
    }

    /// All reports that are kept, the oldest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if `asker` does not administer this homeserver.
    pub async fn reports(&self, asker: &UserId) -> Result<Vec<Report>, Error> {
        if !self.is_admin(asker).await? {
            return Err(Error::Forbidden("you do not administer this homeserver".into()));
        }
        let rows = scan_all(&*self.seams.store, Table::Accounts, PREFIX).await?;
        rows.iter().map(|(_, row)| from_slice(row)).collect()
    }
}

/// The key of the report that makes room for another of `reporter`: their own oldest, so that nobody can drive out what
/// others reported; the oldest of all if they have none.
fn surplus(kept: &[Entry], reporter: &UserId) -> Result<Vec<u8>, Error> {
    let mut oldest = None;
    for (key, row) in kept {
        if from_slice::<Report>(row)?.reporter == reporter {
            return Ok(key.clone());
        }
        oldest = oldest.or(Some(key));
    }
    Ok(oldest.cloned().unwrap_or_default())
}

/// Whether a report's score, which clients of old send, is a whole number from -100 to 0.
pub fn is_score(value: &Value) -> bool {
    value.as_i64().is_some_and(|score| (-100..=0).contains(&score))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use ruma_common::user_id;

    use super::*;

    #[test]
    fn whoever_reports_much_drives_out_their_own() {
        let report = |reporter: &UserId| Report {
            reporter: reporter.to_owned(),
            subject: Subject::User {
                user_id: reporter.to_owned(),
            },
            reason: None,
            received_ts: 0,
        };
        let (ann, bob, cat) = (user_id!("@ann:a"), user_id!("@bob:a"), user_id!("@cat:a"));
        let reporters = [ann, bob, ann, bob].into_iter().enumerate();
        let kept: Vec<Entry> = reporters
            .map(|(at, reporter)| (vec![at as u8], to_vec(&report(reporter)).unwrap()))
            .collect();
        assert_eq!(surplus(&kept, bob).unwrap(), [1]);
        assert_eq!(surplus(&kept, ann).unwrap(), [0]);
        assert_eq!(surplus(&kept, cat).unwrap(), [0]);
    }
}
