//! What distinguishes two states.

use std::collections::BTreeMap;

use ruma_common::OwnedEventId;

use super::{
    KeyPath, TreeError,
    node::{Branch, Entry, Node, NodeHash, NodeSource, Reader},
    read::collect,
};

/// A type and state key at which two states differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event in the first state.
    pub before: Option<OwnedEventId>,
    /// The event in the second state.
    pub after: Option<OwnedEventId>,
}

/// Where the states `before` and `after` differ. Subtrees that they share are not looked at.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn diff(
    source: &impl NodeSource,
    before: &NodeHash,
    after: &NodeHash,
) -> Result<Vec<Difference>, TreeError> {
    let mut comparison = Comparison {
        reader: Reader::new(source),
        found: Vec::new(),
    };
    comparison.compare(Position::root(before), Position::root(after));
    let Comparison { reader, found } = comparison;
    reader.finish(found)
}

/// A subtree, of whose prefix some nibbles lie behind already.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    hash: NodeHash,
    consumed: usize,
}

impl Position {
    fn root(hash: &NodeHash) -> Option<Self> {
        (*hash != NodeHash::EMPTY).then_some(Self {
            hash: *hash,
            consumed: 0,
        })
    }

    fn child(branch: &Branch, nibble: u8) -> Option<Self> {
        branch.children.get(&nibble).map(|child| Self {
            hash: child.hash,
            consumed: 0,
        })
    }

    fn rest<'b>(&self, branch: &'b Branch) -> &'b [u8] {
        branch.prefix.get(self.consumed..).unwrap_or_default()
    }
}

struct Comparison<'a, S> {
    reader: Reader<'a, S>,
    found: Vec<Difference>,
}

impl<S: NodeSource> Comparison<'_, S> {
    /// Compares two subtrees at the same place. Recursion ends with the paths, after 68 nibbles at most.
    fn compare(&mut self, before: Option<Position>, after: Option<Position>) {
        if before == after {
            return;
        }
        let (Some(a), Some(b)) = (before, after) else {
            return self.compare_entries(before, after);
        };
        let nodes = (self.reader.node(&a.hash), self.reader.node(&b.hash));
        let (Some(first), Some(second)) = nodes else {
            return;
        };
        match (&*first, &*second) {
            (Node::Branch(first), Node::Branch(second)) => self.compare_branches((a, first), (b, second)),
            _ => self.compare_entries(before, after),
        }
    }

    fn compare_branches(&mut self, (a, first): (Position, &Branch), (b, second): (Position, &Branch)) {
        let (rest_a, rest_b) = (a.rest(first), b.rest(second));
        let shared = rest_a.iter().zip(rest_b).take_while(|(x, y)| x == y).count();
        let below = |position: Position, branch: &Branch, rest: &[u8], nibble: u8| match rest.get(shared) {
            None => Position::child(branch, nibble),
            Some(next) if *next == nibble => Some(Position {
                consumed: position.consumed + shared + 1,
                ..position
            }),
            Some(_) => None,
        };
        for nibble in 0..16 {
            self.compare(below(a, first, rest_a, nibble), below(b, second, rest_b, nibble));
        }
    }

    /// Compares entry by entry: where one side is a bucket, or nothing.
    fn compare_entries(&mut self, before: Option<Position>, after: Option<Position>) {
        let (before, mut after) = (self.entries(before), self.entries(after));
        for (path, entry) in before {
            match after.remove(&path) {
                Some(other) if other.event_id == entry.event_id => {}
                other => self.note(
                    &entry,
                    Some(entry.event_id.clone()),
                    other.map(|entry| entry.event_id),
                ),
            }
        }
        for entry in after.into_values() {
            self.note(&entry, None, Some(entry.event_id.clone()));
        }
    }

    fn entries(&mut self, position: Option<Position>) -> BTreeMap<KeyPath, Entry> {
        let mut entries = Vec::new();
        if let Some(position) = position {
            collect(&mut self.reader, &position.hash, &mut entries);
        }
        entries.into_iter().map(|entry| (entry.path(), entry)).collect()
    }

    fn note(&mut self, entry: &Entry, before: Option<OwnedEventId>, after: Option<OwnedEventId>) {
        let (event_type, state_key) = (entry.event_type.clone(), entry.state_key.clone());
        self.found.push(Difference {
            event_type,
            state_key,
            before,
            after,
        });
    }
}
