//! A few of the episodes that `cargo xtask sim` runs by the thousand.

use hearth_sim::episode::{self, Options, Plan, Report};

fn options() -> Options {
    Options {
        servers: 4,
        steps: 30,
        round: 15,
        ..Options::default()
    }
}

fn episode(seed: u64) -> Report {
    episode::run(seed, &options(), &Plan::new(seed, &options()))
}

#[test]
fn an_episode_replays_exactly() {
    let (first, second) = (episode(20), episode(20));
    assert_eq!(first.trace.to_string(), second.trace.to_string());
    assert_eq!(first.totals, second.totals);
}
