//! Any bytes as a node: decoding says no, or gives a node that is written as the same bytes. And any changes to a
//! tree: it holds what a map would, and differs from what it was as the maps do.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arbitrary::{Result, Unstructured};
use hearth_rooms::state_tree::{Change, Changed, Node, NodeHash, apply, diff, entries, get};
use ruma_common::{EventId, OwnedEventId};
use sha2::{Digest, Sha256};

type Key = (String, String);
type Model = BTreeMap<Key, OwnedEventId>;
type Nodes = HashMap<NodeHash, Arc<Node>>;

/// The most rounds of changes of one run.
const MAX_ROUNDS: usize = 30;

/// Takes `data` for a node, then for changes.
pub fn check(data: &[u8]) {
    let hash = NodeHash::from_bytes(Sha256::digest(data).into());
    if let Ok(node) = Node::decode(&hash, data) {
        assert_eq!(node.encode(), data, "a node has one encoding");
        let nodes = Nodes::from([(hash, Arc::new(node))]);
        let _ = (
            entries(&nodes, &hash),
            get(&nodes, &hash, "m.room.member", "@a:b"),
        );
        let _ = (
            diff(&nodes, &hash, &NodeHash::EMPTY),
            apply(&nodes, &hash, [change("x", "", None)]),
        );
    }
    // The bytes end at some point: that is all that an error here means.
    let _ = run(&mut Unstructured::new(data));
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut nodes, mut model, mut root) = (Nodes::new(), Model::new(), NodeHash::EMPTY);
    for _ in 0..MAX_ROUNDS {
        if input.is_empty() {
            break;
        }
        let before = (model.clone(), root);
        let mut changes = Vec::new();
        for _ in 0..input.int_in_range(1..=12_u8)? {
            let (kind, key) = any_key(input)?;
            let event_id = input
                .ratio(3_u8, 4)?
                .then(|| event(u64::from(input.arbitrary::<u8>().unwrap_or(0))));
            changes.push(change(&kind, &key, event_id.clone()));
            match event_id {
                Some(event_id) => drop(model.insert((kind, key), event_id)),
                None => drop(model.remove(&(kind, key))),
            }
        }
        let changed = apply(&nodes, &root, changes).expect("all nodes are here");
        root = store(&mut nodes, changed);
        assert_eq!(contents(&nodes, &root), model);
        let mut rebuilt = Nodes::new();
        let whole = model
            .iter()
            .map(|((kind, key), id)| change(kind, key, Some(id.clone())));
        let whole: Vec<_> = whole.collect();
        let again = apply(&rebuilt, &NodeHash::EMPTY, whole).expect("all nodes are here");
        assert_eq!(
            store(&mut rebuilt, again),
            root,
            "the same content is the same tree"
        );
        differs_as_the_models(&nodes, before, (&model, root));
    }
    Ok(())
}

fn differs_as_the_models(nodes: &Nodes, before: (Model, NodeHash), after: (&Model, NodeHash)) {
    let found = diff(nodes, &before.1, &after.1).expect("all nodes are here");
    let mut patched = before.0.clone();
    for difference in &found {
        let key = (difference.event_type.clone(), difference.state_key.clone());
        assert_eq!(before.0.get(&key), difference.before.as_ref());
        match &difference.after {
            Some(id) => drop(patched.insert(key, id.clone())),
            None => drop(patched.remove(&key)),
        }
    }
    assert_eq!(patched, *after.0);
}

fn contents(nodes: &Nodes, root: &NodeHash) -> Model {
    let entries = entries(nodes, root).expect("all nodes are here").into_iter();
    entries
        .map(|entry| ((entry.event_type, entry.state_key), entry.event_id))
        .collect()
}

fn store(nodes: &mut Nodes, changed: Changed) -> NodeHash {
    for (hash, node) in changed.nodes {
        let read = Node::decode(&hash, &node.encode()).expect("what was written can be read");
        assert_eq!(read, *node);
        nodes.insert(hash, node);
    }
    changed.root
}

fn any_key(input: &mut Unstructured<'_>) -> Result<Key> {
    let kind = *input.choose(&["m.room.member", "m.room.topic", "x", ""])?;
    let key = match input.ratio(9_u8, 10)? {
        true => format!("{}", input.arbitrary::<u8>()? % 100),
        false => input.arbitrary::<String>()?,
    };
    Ok((kind.to_owned(), key))
}

fn change(kind: &str, key: &str, event_id: Option<OwnedEventId>) -> Change {
    Change {
        event_type: kind.to_owned(),
        state_key: key.to_owned(),
        event_id,
    }
}

fn event(number: u64) -> OwnedEventId {
    EventId::parse(format!("${number:043}")).expect("it is one")
}
