//! State trees: history independence, comparison, loading on demand, damage.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use hearth_rooms::state_tree::{
    Change, Changed, Difference, Entry, Node, NodeHash, NodeSource, TreeError, apply, build, diff, entries,
    entries_except_type, entries_of_type, get, get_many,
};
use proptest::prelude::*;
use ruma_common::{EventId, OwnedEventId};

type Key = (String, String);
type Model = BTreeMap<Key, OwnedEventId>;
type Nodes = HashMap<NodeHash, Arc<Node>>;

fn event(number: u32) -> OwnedEventId {
    EventId::parse(format!("${number:043}")).unwrap()
}

fn change((event_type, state_key): &Key, event_id: Option<OwnedEventId>) -> Change {
    Change {
        event_type: event_type.clone(),
        state_key: state_key.clone(),
        event_id,
    }
}

/// A store that has all nodes, of which some are in memory; it counts what is loaded.
#[derive(Default)]
struct Slow {
    stored: Nodes,
    loaded: RefCell<Nodes>,
}

impl NodeSource for Slow {
    fn node(&self, hash: &NodeHash) -> Option<Arc<Node>> {
        self.loaded.borrow().get(hash).cloned()
    }
}

impl Slow {
    fn new(stored: &Nodes) -> Self {
        Self {
            stored: stored.clone(),
            loaded: RefCell::default(),
        }
    }

    /// Runs `task` as an asynchronous driver would, loading what it lacks.
    fn drive<T>(&self, task: impl Fn(&Self) -> Result<T, TreeError>) -> T {
        for _ in 0..200 {
            match task(self) {
                Ok(value) => return value,
                Err(TreeError::Missing(hashes)) => self.load(&hashes),
                Err(TreeError::Damaged) => panic!("damaged"),
            }
        }
        panic!("no progress");
    }

    fn load(&self, hashes: &[NodeHash]) {
        for hash in hashes {
            let node = Node::decode(hash, &self.stored[hash].encode()).unwrap();
            assert!(
                self.loaded.borrow_mut().insert(*hash, Arc::new(node)).is_none(),
                "asked for twice"
            );
        }
    }

    fn loads(&self) -> usize {
        self.loaded.borrow().len()
    }
}

fn store(nodes: &mut Nodes, changed: Changed) -> NodeHash {
    nodes.extend(changed.nodes);
    changed.root
}

fn tree(nodes: &mut Nodes, model: &Model) -> NodeHash {
    let entry = |((event_type, state_key), event_id): (&Key, &OwnedEventId)| Entry {
        event_type: event_type.clone(),
        state_key: state_key.clone(),
        event_id: event_id.clone(),
    };
    let changed = build(model.iter().map(entry)).unwrap();
    store(nodes, changed)
}

fn contents(source: &impl NodeSource, root: &NodeHash) -> Result<Model, TreeError> {
    let entries = entries(source, root)?;
    Ok(entries
        .into_iter()
        .map(|entry| ((entry.event_type, entry.state_key), entry.event_id))
        .collect())
}

fn naive_diff(before: &Model, after: &Model) -> HashSet<(Key, Option<OwnedEventId>, Option<OwnedEventId>)> {
    let keys: HashSet<&Key> = before.keys().chain(after.keys()).collect();
    let entry = |key: &Key| (key.clone(), before.get(key).cloned(), after.get(key).cloned());
    keys.into_iter()
        .map(entry)
        .filter(|(_, before, after)| before != after)
        .collect()
}

fn as_set(differences: Vec<Difference>) -> HashSet<(Key, Option<OwnedEventId>, Option<OwnedEventId>)> {
    let count = differences.len();
    let set: HashSet<_> = differences
        .into_iter()
        .map(|d| ((d.event_type, d.state_key), d.before, d.after))
        .collect();
    assert_eq!(set.len(), count, "a difference is told once");
    set
}

fn room(members: u32) -> Model {
    let member = |n: u32| {
        (
            ("m.room.member".to_owned(), format!("@user{n}:example.org")),
            event(n),
        )
    };
    let singles = [
        "m.room.create",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.name",
        "m.room.topic",
    ];
    let single = |(n, name): (u32, &str)| ((name.to_owned(), String::new()), event(1_000_000 + n));
    (0..members)
        .map(member)
        .chain((0..).zip(singles).map(single))
        .collect()
}

fn any_key() -> impl Strategy<Value = Key> {
    let kinds = prop_oneof![
        Just("m.room.member"),
        Just("m.room.topic"),
        Just("m.space.child"),
        Just("x")
    ];
    (kinds, 0_u32..120).prop_map(|(kind, n)| (kind.to_owned(), format!("{n}")))
}

fn any_model() -> impl Strategy<Value = Model> {
    proptest::collection::btree_map(any_key(), (0_u32..5).prop_map(event), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_same_content_makes_the_same_tree(
        steps in proptest::collection::vec(
            proptest::collection::vec((any_key(), proptest::option::of((0_u32..5).prop_map(event))), 0..12), 0..40)
    ) {
        let mut nodes = Nodes::new();
        let (mut model, mut root) = (Model::new(), NodeHash::EMPTY);
        for step in steps {
            let changes: Vec<Change> = step.iter().map(|(key, id)| change(key, id.clone())).collect();
            for (key, id) in step {
                match id {
                    Some(id) => drop(model.insert(key, id)),
                    None => drop(model.remove(&key)),
                }
            }
            let slow = Slow::new(&nodes);
            let changed = slow.drive(|source| apply(source, &root, changes.clone()));
            root = store(&mut nodes, changed);
            prop_assert_eq!(root, tree(&mut Nodes::new(), &model));
        }
        prop_assert_eq!(contents(&nodes, &root).unwrap(), model);
    }

    #[test]
    fn diff_equals_the_naive_one(before in any_model(), after in any_model()) {
        let mut nodes = Nodes::new();
        let roots = (tree(&mut nodes, &before), tree(&mut nodes, &after));
        let slow = Slow::new(&nodes);
        let found = slow.drive(|source| diff(source, &roots.0, &roots.1));
        prop_assert_eq!(as_set(found), naive_diff(&before, &after));
    }

    #[test]
    fn lookups_find_what_is_there(model in any_model(), other in any_key()) {
        let mut nodes = Nodes::new();
        let root = tree(&mut nodes, &model);
        let keys: Vec<&Key> = model.keys().chain([&other]).collect();
        let slow = Slow::new(&nodes);
        let pairs = || keys.iter().map(|(kind, key)| (kind.as_str(), key.as_str()));
        let found = slow.drive(|source| get_many(source, &root, pairs()));
        let expected: Vec<_> = keys.iter().map(|key| model.get(*key).cloned()).collect();
        prop_assert_eq!(found, expected);
        let members = slow.drive(|source| entries_of_type(source, &root, "m.room.member"));
        let expected = model.keys().filter(|(kind, _)| kind == "m.room.member").count();
        prop_assert_eq!(members.len(), expected);
        let others = slow.drive(|source| entries_except_type(source, &root, "m.room.member"));
        prop_assert_eq!(others.skipped, expected as u64);
        let found: HashSet<_> = others.entries.iter().map(|e| (&e.event_type, &e.state_key)).collect();
        let expected: HashSet<_> = model.keys().filter(|(kind, _)| kind != "m.room.member").collect();
        prop_assert_eq!(others.entries.len(), expected.len());
        prop_assert_eq!(found, expected.into_iter().map(|(kind, key)| (kind, key)).collect());
    }

    #[test]
    fn damaged_nodes_are_noticed(model in any_model(), at in any::<usize>(), bit in 0_u8..8) {
        let mut nodes = Nodes::new();
        tree(&mut nodes, &model);
        for (hash, node) in &nodes {
            let mut bytes = node.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Node::decode(hash, &bytes), Err(TreeError::Damaged));
            prop_assert_eq!(Node::decode(hash, &node.encode()).unwrap(), (**node).clone());
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_node_or_a_canonical_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        use sha2::{Digest, Sha256};
        let hash = NodeHash::from_bytes(Sha256::digest(&bytes).into());
        if let Ok(node) = Node::decode(&hash, &bytes) {
            prop_assert_eq!(node.encode(), bytes);
        }
    }
}

#[test]
fn a_change_to_a_large_room_makes_few_nodes() {
    let model = room(20_000);
    let mut nodes = Nodes::new();
    let root = tree(&mut nodes, &model);
    let key = ("m.room.member".to_owned(), "@new:example.org".to_owned());
    let slow = Slow::new(&nodes);
    let changed = slow.drive(|source| apply(source, &root, [change(&key, Some(event(7)))]));
    let bytes: usize = changed.nodes.iter().map(|(_, node)| node.encode().len()).sum();
    assert!(changed.nodes.len() <= 7, "{} new nodes", changed.nodes.len());
    assert!(bytes < 6_000, "{bytes} new bytes");
    assert!(slow.loads() <= 7, "{} nodes read", slow.loads());
    let new = store(&mut nodes, changed);
    let slow = Slow::new(&nodes);
    assert_eq!(slow.drive(|source| diff(source, &root, &new)).len(), 1);
    assert!(slow.loads() <= 14, "{} nodes compared", slow.loads());
}

#[test]
fn one_lookup_reads_one_path() {
    let mut nodes = Nodes::new();
    let root = tree(&mut nodes, &room(20_000));
    let slow = Slow::new(&nodes);
    let found = slow.drive(|source| get(source, &root, "m.room.member", "@user77:example.org"));
    assert_eq!(found, Some(event(77)));
    assert!(slow.loads() <= 6, "{} nodes read", slow.loads());
}

#[test]
fn one_type_is_one_subtree() {
    let mut nodes = Nodes::new();
    let root = tree(&mut nodes, &room(20_000));
    let slow = Slow::new(&nodes);
    let topics = slow.drive(|source| entries_of_type(source, &root, "m.room.topic"));
    assert_eq!(topics.len(), 1);
    assert!(slow.loads() <= 3, "{} nodes read", slow.loads());
}

#[test]
fn all_but_one_type_is_read_without_that_type() {
    let mut nodes = Nodes::new();
    let root = tree(&mut nodes, &room(20_000));
    let slow = Slow::new(&nodes);
    let others = slow.drive(|source| entries_except_type(source, &root, "m.room.member"));
    assert_eq!((others.entries.len(), others.skipped), (5, 20_000));
    assert!(slow.loads() <= 8, "{} nodes read", slow.loads());
}

#[test]
fn what_hides_behind_a_type_is_counted() {
    let hidden = (0_u32..)
        .map(|number| format!("x{number}"))
        .find(|name| hash_start(name) == hash_start("m.room.member"))
        .unwrap();
    let mut model = room(50);
    model.insert((hidden, String::new()), event(5_000));
    let mut nodes = Nodes::new();
    let root = tree(&mut nodes, &model);
    let others = entries_except_type(&nodes, &root, "m.room.member").unwrap();
    assert_eq!((others.entries.len(), others.skipped), (5, 51));
}

fn hash_start(name: &str) -> [u8; 2] {
    use sha2::{Digest, Sha256};
    let hash: [u8; 32] = Sha256::digest(name).into();
    [hash[0], hash[1]]
}

#[test]
fn the_empty_state_needs_no_node() {
    let nothing = Nodes::new();
    assert_eq!(
        build([]).unwrap(),
        Changed {
            root: NodeHash::EMPTY,
            nodes: Vec::new()
        }
    );
    assert_eq!(entries(&nothing, &NodeHash::EMPTY), Ok(Vec::new()));
    assert_eq!(get(&nothing, &NodeHash::EMPTY, "m.room.topic", ""), Ok(None));
    assert_eq!(diff(&nothing, &NodeHash::EMPTY, &NodeHash::EMPTY), Ok(Vec::new()));
}
