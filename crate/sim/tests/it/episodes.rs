//! A few of the episodes that `cargo xtask sim` runs by the thousand.

use hearth_sim::episode::{self, Options, Plan, Report, Totals};

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
fn random_episodes_keep_every_invariant() {
    let mut totals = Totals::default();
    for seed in 1..=12 {
        let report = episode(seed);
        let violation = report
            .violation
            .map(|(_, violation)| violation.details.join("\n"));
        assert!(
            violation.is_none(),
            "seed {seed}\n{}{}",
            report.trace,
            report.trace.short(&violation.unwrap_or_default())
        );
        totals.add(&report.totals);
    }
    assert!(totals.diverged > 6, "episodes have to diverge:\n{totals}");
    assert!(totals.conflicts > 0, "branches have to disagree:\n{totals}");
}

#[test]
fn an_episode_replays_exactly() {
    let (first, second) = (episode(20), episode(20));
    assert_eq!(first.trace.to_string(), second.trace.to_string());
    assert_eq!(first.totals, second.totals);
}
