//! Times state resolution and state comparison next to what ruma takes for whole states.
//!
//! `cargo run --release --example resolution -p hearth-rooms [entries [levels]]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    reason = "a measurement"
)]

use std::time::{Duration, Instant};

use hearth_rooms::{RoomVersion, state_tree};

#[path = "../tests/it/large_room.rs"]
mod large_room;

use large_room::LargeRoom;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|text| text.parse().expect("a number"));
    let entries = arguments.next().unwrap_or(100_000);
    let levels = arguments.next().unwrap_or(1_000);
    for version in [RoomVersion::V11, RoomVersion::V12] {
        let mut room = LargeRoom::new(version, entries, levels, 5_000.min(entries / 2));
        for conflicted in [10, 100, 1_000, 10_000] {
            compare(&mut room, version, conflicted);
        }
        let fork = room.fork(20);
        let time = median(101, || {
            state_tree::diff(&room.nodes, &fork.roots[0], &fork.roots[1]).unwrap()
        });
        println!("version {version}, {entries} entries: comparing states with 10 differences takes {time:?}");
    }
}

fn compare(room: &mut LargeRoom, version: RoomVersion, conflicted: usize) {
    let fork = room.fork(conflicted);
    let rounds = if conflicted > 1_000 { 3 } else { 7 };
    let (_, asked) = room.resolve(&fork);
    let ours = median(rounds, || room.resolve(&fork));
    let mut given: Vec<_> = (0..rounds).map(|_| fork.chains.clone()).collect();
    let ruma = median(rounds, || {
        room.resolve_with_ruma(&fork, given.pop().unwrap_or_default())
    });
    println!(
        "version {version}, {conflicted} conflicted: ours {ours:?} ({} events, {} entries, {} rounds), ruma {ruma:?}, ratio {:.1}",
        asked.events,
        asked.entries,
        asked.rounds,
        ruma.as_secs_f64() / ours.as_secs_f64()
    );
}

/// The time that `work` takes, as a rule.
fn median<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let outcome = work();
            let time = start.elapsed();
            drop(outcome);
            time
        })
        .collect();
    times.sort_unstable();
    times.get(rounds / 2).copied().unwrap_or_default()
}
