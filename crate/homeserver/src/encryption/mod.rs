//! End-to-end encryption, as far as a server has to do with it: keys that it hands out and never uses, messages
//! that it carries from device to device and cannot read. Spec: Client-Server API, section 'End-to-End Encryption'.
//!
//! Everything is in `Table::Keys`, in rows whose first byte names their kind. What belongs to a user is read and
//! written under the user's lock. Nothing here encrypts or decrypts.

pub mod backup;
pub mod cross_signing;
pub mod dehydrated;
pub mod device_keys;
mod device_lists;
pub mod direct_to_device;
pub mod key_claim;
pub mod key_query;
mod one_time_keys;
mod queues;
pub mod remote_devices;
pub mod sharing;
pub mod signatures;
mod signed_json;
pub mod to_device;

use std::sync::Arc;

pub use self::device_lists::DeviceLists;
pub(crate) use self::device_lists::ListChanges;
pub use self::queues::KnownServers;
use self::{one_time_keys::KeyCountCache, queues::Queues, remote_devices::Resyncs};
use crate::Error;

/// The most bytes of a name in a key: of a device, an algorithm with its key id, a message id.
const MAX_NAME: usize = 255;

/// What is kept in memory of encryption.
#[derive(Default)]
pub(crate) struct Encryption {
    /// How many one-time keys devices have left: every sync tells.
    counts: KeyCountCache,
    /// Which queues of to-device messages hold what.
    queues: Arc<Queues>,
    /// Held for reading while messages for devices are stored, for writing while a device is deleted: no message
    /// is left behind for a device that is gone. Taken after a user's lock, never before.
    gate: Arc<async_lock::RwLock<()>>,
    /// Held while messages of other servers are compared with those that came before.
    inbox: Arc<async_lock::Mutex<()>>,
    /// Which device lists of other servers are being fetched.
    resyncs: Resyncs,
}

/// The key of a row: its kind and what names it.
fn row(kind: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.push(0);
        key.extend_from_slice(part.as_bytes());
    }
    key
}

/// What stands behind `prefix` in a key.
fn rest_of(key: &[u8], prefix: &[u8]) -> Result<String, Error> {
    let rest = key
        .strip_prefix(prefix)
        .and_then(|rest| str::from_utf8(rest).ok());
    rest.map(str::to_owned)
        .ok_or_else(|| Error::Damaged("key row".into()))
}

/// Whether `name` can be part of a key.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains('\0')
}

/// `name`, if it can be part of a key.
fn checked_name(name: &str) -> Result<&str, Error> {
    match is_name(name) {
        true => Ok(name),
        false => Err(Error::InvalidParam(format!("a name has 1 to {MAX_NAME} bytes"))),
    }
}
