//! What it costs to compare two snapshots of a large state that differ in a few entries.

use std::{collections::HashMap, sync::Arc};

use hearth_rooms::state_tree::{Change, Entry, Node, NodeHash, apply, build, diff};
use ruma_common::{EventId, OwnedEventId};

use crate::{Failure, Figures, Scale, Times};

/// Entries that differ.
const DIFFERENT: usize = 10;
/// Comparisons that are timed together: browsers' clocks are coarse.
const AT_ONCE: usize = 20;

/// Compares two trees in memory, and for the ratio all entries of the same states as sorted maps.
///
/// # Errors
/// [`Failure`] if the comparison finds anything but what was changed.
pub fn measure(stopwatch: fn() -> f64, scale: Scale) -> Result<Figures, Failure> {
    let (size, rounds) = match scale {
        Scale::Full => (100_000, 50),
        Scale::Smoke => (100, 1),
    };
    let before = build((0..size).map(entry))?;
    let changed = apply(
        &nodes(&before.nodes),
        &before.root,
        (0..DIFFERENT).map(change(size)),
    )?;
    let mut source = nodes(&before.nodes);
    source.extend(changed.nodes.iter().cloned());
    let (mut trees, mut wholes) = (Times::default(), Times::default());
    let maps = (map(&source, &before.root)?, map(&source, &changed.root)?);
    for _ in 0..rounds {
        let start = stopwatch();
        for _ in 0..AT_ONCE {
            if diff(&source, &before.root, &changed.root)?.len() != DIFFERENT {
                return Err("the comparison is wrong".into());
            }
        }
        trees.push((stopwatch() - start) / AT_ONCE as f64);
        let start = stopwatch();
        if maps
            .0
            .iter()
            .filter(|(key, id)| maps.1.get(*key) != Some(id))
            .count()
            != DIFFERENT
        {
            return Err("the maps are wrong".into());
        }
        wholes.push(stopwatch() - start);
    }
    let mut figures = Figures::default();
    figures.note_us(&format!("compare_{DIFFERENT}_of_{size}"), &trees);
    figures.note("compare_maps_to_trees_ratio", wholes.median() / trees.median());
    Ok(figures)
}

type Nodes = HashMap<NodeHash, Arc<Node>>;

fn nodes(nodes: &[(NodeHash, Arc<Node>)]) -> Nodes {
    nodes.iter().cloned().collect()
}

fn map(source: &Nodes, root: &NodeHash) -> Result<HashMap<(String, String), OwnedEventId>, Failure> {
    let entries = hearth_rooms::state_tree::entries(source, root)?;
    let pair = |entry: Entry| ((entry.event_type, entry.state_key), entry.event_id);
    Ok(entries.into_iter().map(pair).collect())
}

fn entry(number: usize) -> Entry {
    Entry {
        event_type: "m.room.member".to_owned(),
        state_key: format!("@user{number}:example.org"),
        event_id: event_id(number),
    }
}

/// Entries spread over the whole state.
fn change(size: usize) -> impl Fn(usize) -> Change {
    move |index| {
        let changed = entry(index * (size / DIFFERENT));
        Change {
            event_type: changed.event_type,
            state_key: changed.state_key,
            event_id: Some(event_id(size + index)),
        }
    }
}

#[allow(clippy::expect_used, reason = "43 letters are an event id")]
fn event_id(number: usize) -> OwnedEventId {
    EventId::parse(format!("${number:0>43}")).expect("it is an event id")
}
