//! Media: files that users share. Spec: Client-Server API, section 'Content Repository'.
//!
//! A file is stored in chunks as it arrives, and shown once its record is committed. Its id is the hash of what
//! it is ([`MediaId::of_content`]), so that any server may hand it on and the receiver can verify it. Pictures
//! are made smaller by the platform ([`Images`](crate::Images)); nothing here decodes one.
//!
//! Rows of `Table::Media`: `f\0id\0server` the record of a file, `t\0id\0server\0size\0upright` that of a thumbnail
//! (without the last part: of one that was never turned, of an earlier database), `r\0id` an id that was reserved, `b`
//! blob number the chunks, `u` blob an upload that is not finished.

mod blob;
mod download;
mod id;
mod orientation;
mod record;
mod remote;
mod reservation;
mod thumbnail;
mod upload;

pub use download::Media;
pub use id::{MediaId, MediaUri};
pub use record::Description;
pub use thumbnail::{Method, Size};
pub use upload::Upload;

pub(crate) use remote::Fetches;

use std::{collections::VecDeque, sync::Arc};

use event_listener::Event;

/// What the homeserver keeps in memory about media.
#[derive(Default)]
pub(crate) struct MediaState {
    /// Files that are being written.
    pub(crate) active: blob::ActiveBlobs,
    /// Told whenever a file was uploaded under a reserved id.
    pub(crate) uploaded: Event,
    /// Files that are being fetched from other servers.
    pub(crate) fetches: Fetches,
    /// Held while a picture is decoded: one at a time bounds the memory. In it, those that could not be read lately, the
    /// newest first, each with the time at which it is tried again.
    pub(crate) scaling: Arc<async_lock::Mutex<VecDeque<(MediaUri, u64)>>>,
}
