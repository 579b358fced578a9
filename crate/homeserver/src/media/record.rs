//! What is stored about a file.

use ruma_common::{OwnedUserId, ServerName};
use serde::{Deserialize, Serialize};

use crate::{Error, media::MediaId};

/// The longest content type and the longest file name, in bytes.
const MAX_TEXT: usize = 255;
/// The content type of a file whose uploader gave none.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// What its uploader says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The content type.
    #[serde(rename = "t")]
    pub content_type: String,
    /// The file name.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

impl Description {
    /// A description from what a request says.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if a text is too long, or a content type holds what no header can.
    pub fn new(content_type: Option<&str>, file_name: Option<&str>) -> Result<Self, Error> {
        let content_type = content_type.unwrap_or(UNKNOWN_TYPE);
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if content_type.len() > MAX_TEXT || !content_type.bytes().all(printable) {
            return Err(Error::InvalidParam("the content type is malformed".into()));
        }
        if file_name.is_some_and(|name| name.len() > MAX_TEXT) {
            return Err(Error::InvalidParam(format!(
                "a file name has at most {MAX_TEXT} bytes"
            )));
        }
        Ok(Self {
            content_type: content_type.to_owned(),
            file_name: file_name.filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }
}

/// A file that is stored whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What its uploader says of it.
    #[serde(flatten)]
    pub description: Description,
    /// Its length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// The blob that holds its bytes, in hex.
    #[serde(rename = "b")]
    pub blob: String,
    /// The length of that blob's chunks, in bytes; the last may be shorter.
    #[serde(rename = "k", default = "first_chunk")]
    pub chunk: u32,
    /// When it was stored, in milliseconds since the Unix epoch.
    #[serde(rename = "c")]
    pub created: u64,
    /// The local user who uploaded it; nobody if it came from another server or was made here.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<OwnedUserId>,
}

/// The length of chunks that records do not tell: all had it once.
const fn first_chunk() -> u32 {
    256 * 1024
}

/// The key of the record of a file.
pub(crate) fn file_key(id: &MediaId, server: &ServerName) -> Vec<u8> {
    [&file_prefix(id), server.as_bytes()].concat()
}

/// What the keys of the records of files of that id begin with, whatever their servers.
pub(crate) fn file_prefix(id: &MediaId) -> Vec<u8> {
    [b"f\0", id.as_str().as_bytes(), b"\0"].concat()
}

/// The key of the record of a thumbnail.
pub(crate) fn thumbnail_key(id: &MediaId, server: &ServerName, size: &str) -> Vec<u8> {
    [
        b"t\0",
        id.as_str().as_bytes(),
        b"\0",
        server.as_bytes(),
        b"\0",
        size.as_bytes(),
    ]
    .concat()
}

/// The key of a reserved id.
pub(crate) fn reservation_key(id: &MediaId) -> Vec<u8> {
    [RESERVATIONS, id.as_str().as_bytes()].concat()
}

/// What the keys of reserved ids begin with.
pub(crate) const RESERVATIONS: &[u8] = b"r\0";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use super::*;
    use crate::stored::from_slice;

    #[test]
    fn a_record_that_tells_no_length_of_chunks_is_of_an_earlier_database() {
        let earlier = br#"{"t":"image/png","s":300000,"b":"00","c":1}"#;
        assert_eq!(from_slice::<Record>(earlier).unwrap().chunk, 256 * 1024);
    }
}
