//! The names of files. Spec: Client-Server API, section 'Matrix Content (`mxc://`) URIs'.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma_common::OwnedServerName;
use sha2::{Digest as _, Sha256};

use crate::{Rng, media::Description};

/// The longest media id that is looked at, in bytes.
const MAX_LENGTH: usize = 255;
/// What ids begin with that are the hash of the file. Reserved ids begin with another letter.
const OF_CONTENT: char = 'h';
/// What ids begin with that were given before the file was there.
const RESERVED: char = 'r';
/// The length of an id that is a hash: the letter and 32 bytes in base64.
const HASH_LENGTH: usize = 44;

/// The id of a file on its server: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(String);

impl MediaId {
    /// `text` as an id, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// The id of a file whose bytes hash to `digest` (SHA-256) and that is described so: a hash of all of it.
    pub(crate) fn of_content(digest: [u8; 32], description: &Description) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"hearth media 1\0");
        hash.update(digest);
        for part in [Some(&description.content_type), description.file_name.as_ref()] {
            let text = part.map(String::as_str).unwrap_or_default();
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(format!("{OF_CONTENT}{}", URL_SAFE_NO_PAD.encode(hash.finalize())))
    }

    /// A random id for a file that is to come.
    pub(crate) fn reserved(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 18];
        rng.fill(&mut bytes);
        Self(format!("{RESERVED}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether the id tells what the file must be.
    pub(crate) fn is_of_content(&self) -> bool {
        self.0.len() == HASH_LENGTH && self.0.starts_with(OF_CONTENT)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a file is to be had: `mxc://server/id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaUri {
    /// The server that its uploader uses.
    pub server: OwnedServerName,
    /// Its id there.
    pub id: MediaId,
}

impl fmt::Display for MediaUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "mxc://{}/{}", self.server, self.id.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[test]
    fn ids_have_the_grammar_of_the_spec() {
        assert_eq!(MediaId::parse("aZ0-_").unwrap().as_str(), "aZ0-_");
        for wrong in ["", "a/b", "a.b", "..", "a b", "ä", &"a".repeat(256)] {
            assert_eq!(MediaId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_depends_on_all_that_a_file_is() {
        let id = |digest: u8, content_type: &str, name: Option<&str>| {
            let description = Description::new(Some(content_type), name).unwrap();
            MediaId::of_content([digest; 32], &description)
        };
        let first = id(1, "image/png", Some("a"));
        assert!(first.is_of_content());
        assert_eq!(first, id(1, "image/png", Some("a")));
        for other in [
            id(2, "image/png", Some("a")),
            id(1, "image/jpeg", Some("a")),
            id(1, "image/png", None),
        ] {
            assert_ne!(first, other);
        }
    }
}
