//! What distinguishes states.

use std::sync::Arc;

use ruma_common::OwnedEventId;

use super::{
    TreeError,
    node::{Branch, Entry, Node, NodeHash, NodeSource, Reader},
    read::buckets_below,
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

/// A type and state key at which not all of several states are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event in each of the states.
    pub event_ids: Vec<Option<OwnedEventId>>,
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
    let difference = |mut divergence: Divergence| Difference {
        event_type: divergence.event_type,
        state_key: divergence.state_key,
        after: divergence.event_ids.pop().flatten(),
        before: divergence.event_ids.pop().flatten(),
    };
    let divergences = divergences(source, &[*before, *after])?;
    Ok(divergences.into_iter().map(difference).collect())
}

/// Where the states `roots` are not all the same. Subtrees that they all share are not looked at.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn divergences(source: &impl NodeSource, roots: &[NodeHash]) -> Result<Vec<Divergence>, TreeError> {
    compare(source, roots, all_equal)
}

/// The events that all the states `roots` have in common and that the state `before` does not have.
/// Subtrees that `before` shares with one of them are not looked at.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn later(
    source: &impl NodeSource,
    before: &NodeHash,
    roots: &[NodeHash],
) -> Result<Vec<OwnedEventId>, TreeError> {
    let all: Vec<NodeHash> = std::iter::once(before).chain(roots).copied().collect();
    let is_shared = |positions: &[Option<Position>]| {
        let mut positions = positions.iter();
        let before = positions.next();
        before.is_none_or(|before| positions.any(|position| position == before))
    };
    let common = |divergence: Divergence| {
        let mut event_ids = divergence.event_ids.into_iter().skip(1);
        let first = event_ids.next().flatten()?;
        event_ids
            .all(|other| other.as_ref() == Some(&first))
            .then_some(first)
    };
    let divergences = compare(source, &all, is_shared)?;
    Ok(divergences.into_iter().filter_map(common).collect())
}

fn compare<S: NodeSource>(
    source: &S,
    roots: &[NodeHash],
    skip: impl Fn(&[Option<Position>]) -> bool,
) -> Result<Vec<Divergence>, TreeError> {
    let mut comparison = Comparison {
        reader: Reader::new(source),
        skip,
        found: Vec::new(),
    };
    let positions: Vec<_> = roots.iter().map(Position::root).collect();
    comparison.compare(&positions);
    let Comparison { reader, found, .. } = comparison;
    reader.finish(found)
}

fn all_equal<T: PartialEq>(items: &[T]) -> bool {
    items
        .first()
        .is_none_or(|first| items.iter().all(|item| item == first))
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

    /// What lies below this place of `branch` at `nibble`, `shared` nibbles further on.
    fn below(self, branch: &Branch, shared: usize, nibble: u8) -> Option<Self> {
        match self.rest(branch).get(shared) {
            None => branch.children.get(&nibble).map(|child| Self {
                hash: child.hash,
                consumed: 0,
            }),
            Some(next) if *next == nibble => Some(Self {
                consumed: self.consumed + shared + 1,
                ..self
            }),
            Some(_) => None,
        }
    }

    fn rest<'b>(&self, branch: &'b Branch) -> &'b [u8] {
        branch.prefix.get(self.consumed..).unwrap_or_default()
    }
}

/// A comparison of several trees, place by place.
struct Comparison<'a, S, F> {
    reader: Reader<'a, S>,
    /// Whether a place need not be looked at.
    skip: F,
    found: Vec<Divergence>,
}

impl<S: NodeSource, F: Fn(&[Option<Position>]) -> bool> Comparison<'_, S, F> {
    /// Compares subtrees at the same place. Recursion ends with the paths, after 68 nibbles at most.
    fn compare(&mut self, positions: &[Option<Position>]) {
        if (self.skip)(positions) {
            return;
        }
        let mut nodes: Vec<Option<Arc<Node>>> = Vec::with_capacity(positions.len());
        let mut complete = true;
        for position in positions {
            let node = position.map(|position| self.reader.node(&position.hash));
            complete &= !matches!(node, Some(None));
            nodes.push(node.flatten());
        }
        if !complete {
            return;
        }
        let places = positions.iter().zip(&nodes);
        let branches: Option<Vec<(Position, &Branch)>> = places
            .map(|(position, node)| match (position, node.as_deref()) {
                (Some(position), Some(Node::Branch(branch))) => Some((*position, branch)),
                _ => None,
            })
            .collect();
        match branches {
            Some(branches) => self.compare_branches(&branches),
            None => self.compare_entries(positions),
        }
    }

    fn compare_branches(&mut self, branches: &[(Position, &Branch)]) {
        let mut rests = branches.iter().map(|(position, branch)| position.rest(branch));
        let first = rests.next().unwrap_or_default();
        let shared = rests.fold(first.len(), |shared, rest| {
            let pairs = first.iter().zip(rest).take(shared);
            pairs.take_while(|(a, b)| a == b).count()
        });
        let mut positions = Vec::with_capacity(branches.len());
        for nibble in 0..16 {
            positions.clear();
            let below = branches
                .iter()
                .map(|(position, branch)| position.below(branch, shared, nibble));
            positions.extend(below);
            self.compare(&positions);
        }
    }

    /// Compares entry by entry: where one of the trees has a bucket, or nothing.
    fn compare_entries(&mut self, positions: &[Option<Position>]) {
        let mut buckets = Vec::new();
        for (side, position) in positions.iter().enumerate() {
            if let Some(position) = position {
                buckets_below(&mut self.reader, &position.hash, |bucket| {
                    buckets.push((side, bucket))
                });
            }
        }
        let mut entries: Vec<(usize, &Entry)> = Vec::new();
        for (side, bucket) in &buckets {
            if let Node::Bucket(bucket) = &**bucket {
                entries.extend(bucket.iter().map(|entry| (*side, entry)));
            }
        }
        entries.sort_by(|(_, a), (_, b)| key_of(a).cmp(&key_of(b)));
        let of_one_key = entries.chunk_by(|(_, a), (_, b)| key_of(a) == key_of(b));
        let found = of_one_key.filter_map(|entries| divergence(entries, positions.len()));
        self.found.extend(found);
    }
}

fn key_of(entry: &Entry) -> (&str, &str) {
    (&entry.state_key, &entry.event_type)
}

/// What the sides have of one type and state key, unless all `sides` have the same.
fn divergence(entries: &[(usize, &Entry)], sides: usize) -> Option<Divergence> {
    let (_, first) = entries.first()?;
    let has_same =
        |(side, entry): (usize, &(usize, &Entry))| entry.0 == side && entry.1.event_id == first.event_id;
    if entries.len() == sides && entries.iter().enumerate().all(has_same) {
        return None;
    }
    let mut event_ids = vec![None; sides];
    for (side, entry) in entries {
        if let Some(event_id) = event_ids.get_mut(*side) {
            *event_id = Some(entry.event_id.clone());
        }
    }
    Some(Divergence {
        event_type: first.event_type.clone(),
        state_key: first.state_key.clone(),
        event_ids,
    })
}
