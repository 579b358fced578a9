//! Room state as an immutable tree of content-addressed nodes.
//!
//! The same state always makes the same tree, whatever the order in which it came about, so two states are
//! equal if their roots are. A change makes O(log n) new nodes and shares all others; two states are compared in
//! time proportional to their difference.
//!
//! The tree is a radix trie over [`KeyPath`]s with skipped prefixes. A subtree of at most [`BUCKET`] entries is
//! one [`Node::Bucket`]; a larger one is a [`Node::Branch`]. Nothing here loads or stores: nodes come from a
//! [`NodeSource`], and a function that lacks some says so ([`TreeError::Missing`]) and is called again.

mod change;
mod codec;
mod difference;
mod node;
mod path;
mod read;

pub use change::{Change, Changed, apply, build};
pub use difference::{Difference, Divergence, diff, divergences, later};
pub use node::{BUCKET, Branch, Child, Entry, Node, NodeHash, NodeSource};
pub use path::KeyPath;
pub use read::{Others, entries, entries_except_type, entries_of_type, get, get_many};

/// Why a tree cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// These nodes have to be loaded before the next call.
    #[error("{} nodes of the state tree are not loaded", .0.len())]
    Missing(Vec<NodeHash>),
    /// The bytes are not the node of that hash, or no node at all.
    #[error("a node of the state tree is damaged")]
    Damaged,
}
