//! What resolution costs: counted, not timed.

use hearth_rooms::{RoomVersion, StateMap, resolution::Change};

use crate::large_room::LargeRoom;

fn changed(first: &StateMap, changes: &[Change]) -> StateMap {
    let mut state = first.clone();
    for change in changes {
        state.insert(change.key.clone(), change.event_id.clone().unwrap());
    }
    state
}

#[test]
fn a_small_fork_of_a_large_room_with_long_chains_asks_for_little() {
    for (version, entries) in [(RoomVersion::V11, 2_000), (RoomVersion::V12, 100_000)] {
        let mut room = LargeRoom::new(version, entries, 1_000, 100);
        let fork = room.fork(10);
        let (changes, asked) = room.resolve(&fork);
        assert_eq!(
            changed(&fork.states[0], &changes),
            room.resolve_with_ruma(&fork, fork.chains.clone())
        );
        // Ten conflicted events, the create event, power levels and join rules, and their senders' joins.
        assert!(asked.events <= 20, "{asked:?}");
        assert!(asked.entries <= 12, "{asked:?}");
        assert!(asked.rounds <= 8, "{asked:?}");
        assert_eq!(asked.later, 0);
        assert!(room.compared(&fork) <= 60, "{} nodes", room.compared(&fork));
    }
}

#[test]
fn the_cost_grows_with_the_conflict_alone() {
    let mut small = LargeRoom::new(RoomVersion::V12, 500, 10, 60);
    let mut large = LargeRoom::new(RoomVersion::V12, 5_000, 200, 60);
    let costs = [&mut small, &mut large].map(|room| {
        let fork = room.fork(100);
        let (changes, asked) = room.resolve(&fork);
        (changes.len(), asked.events, asked.entries, asked.rounds)
    });
    assert_eq!(costs[0], costs[1]);
}
