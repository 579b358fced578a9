//! The nodes of a state tree.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::BuildHasher,
    sync::Arc,
};

use ruma_common::OwnedEventId;
use sha2::{Digest, Sha256};

use super::{KeyPath, TreeError, codec};

/// The most entries of a bucket.
pub const BUCKET: usize = 8;

/// The SHA-256 of a node's bytes: its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeHash([u8; 32]);

impl NodeHash {
    /// The root of the empty state. No node is stored for it.
    pub const EMPTY: Self = Self([0; 32]);

    /// The hash as bytes: the key to store the node under.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn of(node: &[u8]) -> Self {
        Self(Sha256::digest(node).into())
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(6)
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One entry of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event.
    pub event_id: OwnedEventId,
}

impl Entry {
    pub(crate) fn path(&self) -> KeyPath {
        KeyPath::new(&self.event_type, &self.state_key)
    }
}

/// A subtree as its parent knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The root node of the subtree.
    pub hash: NodeHash,
    /// How many entries it has.
    pub count: u64,
}

/// An inner node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The nibbles that all entries below share, counted from where the parent left off.
    pub prefix: Vec<u8>,
    /// The subtrees by the nibble that follows the prefix; at least two.
    pub children: BTreeMap<u8, Child>,
}

impl Branch {
    /// How many entries are below.
    pub fn count(&self) -> u64 {
        self.children
            .values()
            .fold(0, |sum, child| sum.saturating_add(child.count))
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// All entries of a small subtree, in the order of their paths.
    Bucket(Vec<Entry>),
    /// A large subtree.
    Branch(Branch),
}

impl Node {
    /// The node that was stored as `bytes` under `hash`.
    ///
    /// # Errors
    /// [`TreeError::Damaged`] if they do not belong together or are no node.
    pub fn decode(hash: &NodeHash, bytes: &[u8]) -> Result<Self, TreeError> {
        if NodeHash::of(bytes) != *hash {
            return Err(TreeError::Damaged);
        }
        codec::decode(bytes).ok_or(TreeError::Damaged)
    }

    /// The node as bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Bucket(entries) => entries.len() as u64,
            Self::Branch(branch) => branch.count(),
        }
    }
}

/// Where loaded nodes are found.
pub trait NodeSource {
    /// The node `hash`, if it is loaded.
    fn node(&self, hash: &NodeHash) -> Option<Arc<Node>>;
}

impl<S: BuildHasher> NodeSource for HashMap<NodeHash, Arc<Node>, S> {
    fn node(&self, hash: &NodeHash) -> Option<Arc<Node>> {
        self.get(hash).cloned()
    }
}

impl<T: NodeSource + ?Sized> NodeSource for &T {
    fn node(&self, hash: &NodeHash) -> Option<Arc<Node>> {
        (**self).node(hash)
    }
}

/// Nodes from a source, noting the ones that are missing.
pub(crate) struct Reader<'a, S> {
    source: &'a S,
    missing: Vec<NodeHash>,
}

impl<'a, S: NodeSource> Reader<'a, S> {
    pub(crate) fn new(source: &'a S) -> Self {
        Self {
            source,
            missing: Vec::new(),
        }
    }

    /// The node `hash`; nothing, and a note, if it is not loaded.
    pub(crate) fn node(&mut self, hash: &NodeHash) -> Option<Arc<Node>> {
        let node = self.source.node(hash);
        if node.is_none() {
            self.missing.push(*hash);
        }
        node
    }

    /// `value`, unless nodes were missing on the way to it.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, TreeError> {
        if self.missing.is_empty() {
            return Ok(value);
        }
        self.missing.sort_unstable();
        self.missing.dedup();
        Err(TreeError::Missing(self.missing))
    }
}
