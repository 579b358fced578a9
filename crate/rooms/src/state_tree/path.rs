//! Where an entry has its place in the tree.

use sha2::{Digest, Sha256};

/// The length of a path in nibbles.
pub(crate) const NIBBLES: usize = 2 * BYTES;
/// The nibbles that all entries of one type share.
pub(crate) const TYPE_NIBBLES: usize = 2 * TYPE_BYTES;
const BYTES: usize = 34;
const TYPE_BYTES: usize = 2;

/// The place of an entry: two bytes of the hash of its type, so that one type is one subtree, then the hash of
/// type and state key together, so that nobody can make two entries that share their whole path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath([u8; BYTES]);

impl KeyPath {
    /// The path of the entry of `event_type` and `state_key`.
    pub fn new(event_type: &str, state_key: &str) -> Self {
        let mut path = [0; BYTES];
        let (type_part, key_part) = path.split_at_mut(TYPE_BYTES);
        type_part.copy_from_slice(&type_prefix(event_type));
        let whole = Sha256::new()
            .chain_update((event_type.len() as u64).to_be_bytes())
            .chain_update(event_type)
            .chain_update(state_key);
        key_part.copy_from_slice(&whole.finalize());
        Self(path)
    }

    /// Nibble number `index`; 0 beyond the end.
    pub fn nibble(&self, index: usize) -> u8 {
        let byte = self.0.get(index / 2).copied().unwrap_or_default();
        if index.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 0xf
        }
    }

    /// Whether `prefix` stands at nibble `depth`.
    pub(crate) fn has(&self, depth: usize, prefix: &[u8]) -> bool {
        self.common(depth, prefix) == prefix.len()
    }

    /// How many nibbles of `prefix` stand at nibble `depth`.
    pub(crate) fn common(&self, depth: usize, prefix: &[u8]) -> usize {
        prefix
            .iter()
            .enumerate()
            .take_while(|(index, nibble)| self.nibble(depth + index) == **nibble)
            .count()
    }
}

/// The nibbles with which the paths of all entries of `event_type` begin.
pub(crate) fn type_nibbles(event_type: &str) -> [u8; TYPE_NIBBLES] {
    let [first, second] = type_prefix(event_type);
    [first >> 4, first & 0xf, second >> 4, second & 0xf]
}

fn type_prefix(event_type: &str) -> [u8; TYPE_BYTES] {
    let hash: [u8; 32] = Sha256::digest(event_type).into();
    let [first, second, ..] = hash;
    [first, second]
}
