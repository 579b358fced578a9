//! Redaction: what is left of an event once its content is taken away.
//!
//! It does *not* decide whether a redaction may be applied; [`may_apply`] is given what that depends on.

use ruma_common::canonical_json::redact_in_place;

use crate::{Pdu, PduError};

impl Pdu {
    /// The event with only what its room version lets redaction keep. The id and signatures stay valid.
    ///
    /// # Errors
    /// None in practice, as the event has the right format.
    pub fn redacted(&self) -> Result<Self, PduError> {
        let mut object = self.to_object()?;
        redact_in_place(&mut object, &self.version().rules().redaction, None)
            .map_err(|error| PduError::Unhashable(error.to_string()))?;
        Ok(Self::from_object(self.version(), object)?.with_rejected(self.rejected()))
    }
}

/// Whether `redaction` is to be applied to `target`, if its sender's power level is at least the room's
/// `redact` level or not (`has_redact_power`). Spec: Room Version 3, "Handling redactions".
pub fn may_apply(redaction: &Pdu, target: &Pdu, has_redact_power: bool) -> bool {
    redaction.redacts() == Some(target.event_id())
        && redaction.room_id() == target.room_id()
        && (has_redact_power || redaction.sender().server_name() == target.sender().server_name())
}
