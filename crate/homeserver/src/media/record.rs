//! What is stored about a file.

use ruma_common::{OwnedUserId, ServerName};
use serde::{Deserialize, Serialize};

use crate::{Error, media::MediaId};

/// The longest content type, in bytes.
const MAX_TYPE: usize = 255;
/// The longest file name, in bytes. File systems have names of up to 255 units of UTF-16, which are up to 765 bytes.
const MAX_NAME: usize = 1024;
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
        if !content_type.is_none_or(is_type) {
            return Err(Error::InvalidParam("the content type is malformed".into()));
        }
        if !file_name.is_none_or(is_name) {
            return Err(Error::InvalidParam(format!(
                "a file name has at most {MAX_NAME} bytes"
            )));
        }
        Ok(Self::of_remote(content_type, file_name))
    }

    /// A description from what another server says. What cannot be is left out, so that the file can be had. An id that
    /// is a hash covers the description too: what is then left of it is not what such an id is of.
    pub(crate) fn of_remote(content_type: Option<&str>, file_name: Option<&str>) -> Self {
        let file_name = file_name.filter(|name| !name.is_empty() && is_name(name));
        Self {
            content_type: content_type
                .filter(|text| is_type(text))
                .unwrap_or(UNKNOWN_TYPE)
                .to_owned(),
            file_name: file_name.map(str::to_owned),
        }
    }
}

fn is_type(text: &str) -> bool {
    text.len() <= MAX_TYPE && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
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
    [&earlier_thumbnail_key(id, server, size), b"\0upright".as_slice()].concat()
}

/// The key of the record of a thumbnail that was made when pictures were not turned as they ask for.
pub(crate) fn earlier_thumbnail_key(id: &MediaId, server: &ServerName, size: &str) -> Vec<u8> {
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
    fn another_server_is_not_held_to_what_cannot_be() {
        let (long_type, long_name) = ("a".repeat(256), "a".repeat(1025));
        for (content_type, file_name) in [
            (Some(long_type.as_str()), None),
            (Some("text/\u{e9}"), None),
            (None, Some(long_name.as_str())),
        ] {
            assert!(Description::new(content_type, file_name).is_err());
            let description = Description::of_remote(content_type, file_name);
            assert_eq!(description, Description::new(None, None).unwrap());
        }
        let (content_type, file_name) = (Some("text/plain"), Some("\u{436}".repeat(512)));
        let description = Description::of_remote(content_type, file_name.as_deref());
        assert_eq!(description.file_name, file_name);
        assert_eq!(
            description,
            Description::new(content_type, file_name.as_deref()).unwrap()
        );
    }

    #[test]
    fn a_record_that_tells_no_length_of_chunks_is_of_an_earlier_database() {
        let earlier = br#"{"t":"image/png","s":300000,"b":"00","c":1}"#;
        assert_eq!(from_slice::<Record>(earlier).unwrap().chunk, 256 * 1024);
    }
}
