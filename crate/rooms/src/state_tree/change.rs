//! New states out of old ones.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma_common::OwnedEventId;

use super::{
    KeyPath, TreeError,
    node::{BUCKET, Branch, Child, Entry, Node, NodeHash, NodeSource, Reader},
    path::NIBBLES,
};

use crate::ordered::map;

/// What to do with one type and state key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event to put there; `None` removes what is there.
    pub event_id: Option<OwnedEventId>,
}

/// A new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its root.
    pub root: NodeHash,
    /// The nodes that the source does not have, to be stored before the root is used.
    pub nodes: Vec<(NodeHash, Arc<Node>)>,
}

/// The state `root` with `changes`. Of several changes to one type and state key the last counts.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn apply(
    source: &impl NodeSource,
    root: &NodeHash,
    changes: impl IntoIterator<Item = Change>,
) -> Result<Changed, TreeError> {
    let with_path = |change: Change| (KeyPath::new(&change.event_type, &change.state_key), change);
    let changes: Vec<_> = map(changes.into_iter().map(with_path)).into_iter().collect();
    let mut builder = Builder {
        reader: Reader::new(source),
        source,
        new: HashMap::new(),
    };
    // The count of a root is nowhere used.
    let subtree = (*root != NodeHash::EMPTY).then_some(Child {
        hash: *root,
        count: 0,
    });
    let root = builder
        .update(subtree, 0, &changes)
        .ok()
        .flatten()
        .map_or(NodeHash::EMPTY, |child| child.hash);
    builder.finish(root)
}

/// A state with `entries` and no others.
///
/// # Errors
/// None: nothing has to be loaded.
pub fn build(entries: impl IntoIterator<Item = Entry>) -> Result<Changed, TreeError> {
    let nothing: HashMap<NodeHash, Arc<Node>> = HashMap::new();
    let change = |entry: Entry| Change {
        event_type: entry.event_type,
        state_key: entry.state_key,
        event_id: Some(entry.event_id),
    };
    apply(&nothing, &NodeHash::EMPTY, entries.into_iter().map(change))
}

/// A change with its place.
type Placed = (KeyPath, Change);

/// A node was not loaded; the reader has noted which.
struct NotLoaded;

struct Builder<'a, S> {
    reader: Reader<'a, S>,
    source: &'a S,
    new: HashMap<NodeHash, Arc<Node>>,
}

impl<S: NodeSource> Builder<'_, S> {
    fn node(&mut self, hash: &NodeHash) -> Result<Arc<Node>, NotLoaded> {
        if let Some(node) = self.new.get(hash) {
            return Ok(node.clone());
        }
        self.reader.node(hash).ok_or(NotLoaded)
    }

    fn put(&mut self, node: Node) -> Child {
        let hash = NodeHash::of(&node.encode());
        let child = Child {
            hash,
            count: node.count(),
        };
        if self.source.node(&hash).is_none() {
            self.new.insert(hash, Arc::new(node));
        }
        child
    }

    /// The subtree at `depth` with `changes`, which are sorted by path. Recursion ends with the paths.
    fn update(
        &mut self,
        subtree: Option<Child>,
        depth: usize,
        changes: &[Placed],
    ) -> Result<Option<Child>, NotLoaded> {
        if changes.is_empty() {
            return Ok(subtree);
        }
        let Some(subtree) = subtree else {
            return Ok(self.build(&merge(Vec::new(), changes), depth));
        };
        match &*self.node(&subtree.hash)? {
            Node::Bucket(entries) => Ok(self.build(&merge(entries.clone(), changes), depth)),
            Node::Branch(branch) => self.update_branch(branch.clone(), depth, changes),
        }
    }

    fn update_branch(
        &mut self,
        mut branch: Branch,
        depth: usize,
        changes: &[Placed],
    ) -> Result<Option<Child>, NotLoaded> {
        let (inside, mut outside): (Vec<Placed>, Vec<Placed>) = changes
            .iter()
            .cloned()
            .partition(|(path, _)| path.has(depth, &branch.prefix));
        outside.retain(|(_, change)| change.event_id.is_some());
        self.update_children(&mut branch, depth, &inside)?;
        if branch.count() <= BUCKET as u64 {
            let entries = self.entries(&branch)?;
            return Ok(self.build(&merge(entries, &outside), depth));
        }
        let branch = self.without_single_child(branch)?;
        Ok(Some(if outside.is_empty() {
            self.put(Node::Branch(branch))
        } else {
            self.join(branch, depth, &merge(Vec::new(), &outside))
        }))
    }

    fn update_children(
        &mut self,
        branch: &mut Branch,
        depth: usize,
        changes: &[Placed],
    ) -> Result<(), NotLoaded> {
        let at = depth + branch.prefix.len();
        let mut outcome = Ok(());
        for changes in changes.chunk_by(|(a, _), (b, _)| a.nibble(at) == b.nibble(at)) {
            let Some(nibble) = changes.first().map(|(path, _)| path.nibble(at)) else {
                continue;
            };
            match self.update(branch.children.get(&nibble).copied(), at + 1, changes) {
                Ok(Some(child)) => {
                    branch.children.insert(nibble, child);
                }
                Ok(None) => {
                    branch.children.remove(&nibble);
                }
                // Go on with the others, so that all that is missing is known at once.
                Err(NotLoaded) => outcome = Err(NotLoaded),
            }
        }
        outcome
    }

    /// A branch that was left with one child, itself a branch, becomes one with it.
    fn without_single_child(&mut self, branch: Branch) -> Result<Branch, NotLoaded> {
        let Some((nibble, child)) = branch
            .children
            .first_key_value()
            .filter(|_| branch.children.len() == 1)
        else {
            return Ok(branch);
        };
        match &*self.node(&child.hash)? {
            Node::Branch(below) => {
                let prefix = [&*branch.prefix, &[*nibble], &*below.prefix].concat();
                Ok(Branch {
                    prefix,
                    children: below.children.clone(),
                })
            }
            Node::Bucket(_) => Ok(branch),
        }
    }

    /// All entries below `branch`, which are few.
    fn entries(&mut self, branch: &Branch) -> Result<Vec<Entry>, NotLoaded> {
        let mut entries = Vec::new();
        let mut outcome = Ok(());
        let mut open: Vec<NodeHash> = branch.children.values().map(|child| child.hash).collect();
        while let Some(hash) = open.pop() {
            match self.node(&hash).as_deref() {
                Ok(Node::Bucket(bucket)) => entries.extend(bucket.iter().cloned()),
                Ok(Node::Branch(branch)) => open.extend(branch.children.values().map(|child| child.hash)),
                Err(NotLoaded) => outcome = Err(NotLoaded),
            }
        }
        outcome.map(|()| entries)
    }

    /// A subtree of `entries`, which are sorted by path and share it up to `depth`.
    fn build(&mut self, entries: &[(KeyPath, Entry)], depth: usize) -> Option<Child> {
        let ((first, _), (last, _)) = (entries.first()?, entries.last()?);
        if entries.len() <= BUCKET {
            let bucket = entries.iter().map(|(_, entry)| entry.clone()).collect();
            return Some(self.put(Node::Bucket(bucket)));
        }
        let prefix: Vec<u8> = (depth..NIBBLES)
            .take_while(|index| first.nibble(*index) == last.nibble(*index))
            .map(|index| first.nibble(index))
            .collect();
        let children = self.build_children(entries, depth + prefix.len());
        Some(self.put(Node::Branch(Branch { prefix, children })))
    }

    fn build_children(&mut self, entries: &[(KeyPath, Entry)], at: usize) -> BTreeMap<u8, Child> {
        let groups = entries.chunk_by(|(a, _), (b, _)| a.nibble(at) == b.nibble(at));
        let subtree = |group: &[(KeyPath, Entry)]| {
            let nibble = group.first()?.0.nibble(at);
            Some((nibble, self.build(group, at + 1)?))
        };
        map(groups.filter_map(subtree))
    }

    /// `branch`, which stands at `depth`, with `entries` beside it that all leave its prefix somewhere.
    fn join(&mut self, branch: Branch, depth: usize, entries: &[(KeyPath, Entry)]) -> Child {
        let shared = entries
            .iter()
            .map(|(path, _)| path.common(depth, &branch.prefix))
            .min()
            .unwrap_or_default();
        let at = depth + shared;
        let Some((own, rest)) = branch.prefix.get(shared..).and_then(<[u8]>::split_first) else {
            return self.put(Node::Branch(branch));
        };
        let below = Branch {
            prefix: rest.to_vec(),
            children: branch.children.clone(),
        };
        let (beside, apart): (Vec<_>, Vec<_>) = entries
            .iter()
            .cloned()
            .partition(|(path, _)| path.nibble(at) == *own);
        let mut children = self.build_children(&apart, at);
        let below = if beside.is_empty() {
            self.put(Node::Branch(below))
        } else {
            self.join(below, at + 1, &beside)
        };
        children.insert(*own, below);
        let prefix = branch.prefix.iter().take(shared).copied().collect();
        self.put(Node::Branch(Branch { prefix, children }))
    }

    /// The outcome: of the new nodes those that the new state uses.
    fn finish(self, root: NodeHash) -> Result<Changed, TreeError> {
        let Self { reader, mut new, .. } = self;
        let mut nodes = Vec::new();
        let mut open = vec![root];
        while let Some(hash) = open.pop() {
            let Some(node) = new.remove(&hash) else { continue };
            if let Node::Branch(branch) = &*node {
                open.extend(branch.children.values().map(|child| child.hash));
            }
            nodes.push((hash, node));
        }
        reader.finish(Changed { root, nodes })
    }
}

/// `entries` with `changes`, sorted by path.
fn merge(entries: Vec<Entry>, changes: &[Placed]) -> Vec<(KeyPath, Entry)> {
    let mut merged = map(entries.into_iter().map(|entry| (entry.path(), entry)));
    for (
        path,
        Change {
            event_type,
            state_key,
            event_id,
        },
    ) in changes
    {
        match event_id.clone() {
            Some(event_id) => {
                let (event_type, state_key) = (event_type.clone(), state_key.clone());
                merged.insert(
                    *path,
                    Entry {
                        event_type,
                        state_key,
                        event_id,
                    },
                );
            }
            None => {
                merged.remove(path);
            }
        }
    }
    merged.into_iter().collect()
}
