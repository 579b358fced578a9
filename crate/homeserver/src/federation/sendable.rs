//! What can be sent to another server: numbers that canonical JSON has, and no deeper nesting than JSON is read with.
//! With anything else in it nobody takes a transaction, nor what else is in it.

use hearth_rooms::{
    canonical_json::{Numbers, encode_object},
    pdu::{MAX_NESTING, nesting_within},
};

use crate::{Error, JsonObject};

/// The deepest nesting in an EDU, which has more levels than what a client gives for it, and less than the 127 that may
/// be in a transaction.
pub(super) const MAX_EDU_NESTING: usize = MAX_NESTING + 20;

/// Checks what a client gives for other servers: the content of a message, a key.
///
/// # Errors
/// [`Error::BadJson`] if it could not be sent.
pub(crate) fn check_sendable(object: &JsonObject) -> Result<(), Error> {
    match is_sendable(object, MAX_NESTING) {
        true => Ok(()),
        false => Err(Error::BadJson(
            "a number is out of range, or the nesting too deep".into(),
        )),
    }
}

/// Whether the fields of `object` are nested at most `levels` deep and all of its numbers can be sent.
pub(super) fn is_sendable(object: &JsonObject, levels: usize) -> bool {
    object.values().all(|value| nesting_within(value, levels))
        && encode_object(object, &[], Numbers::Lenient).is_ok()
}
