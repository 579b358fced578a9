//! Events that claim the id of another one.
//!
//! In room versions 1 and 2 servers choose the ids of their events, so a hostile one can give the same id to two.
//! The event that is stored first keeps the id; others are refused, and nothing is written over it. From
//! version 3 on an id is a hash, and there is nothing to check.

use hearth_rooms::Pdu;

use crate::{Error, Homeserver};

/// What is said of an event whose id is taken.
pub(crate) const ID_IS_TAKEN: &str = "another event has this id";

impl Homeserver {
    /// Whether another event of the id of `pdu` is stored.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn id_is_taken(&self, pdu: &Pdu) -> Result<bool, Error> {
        if !pdu.version().event_names_its_id() {
            return Ok(false);
        }
        let stored = self.stored_event(pdu.event_id()).await?;
        Ok(stored.is_some_and(|stored| !stored.pdu.is_same_event(pdu)))
    }
}
