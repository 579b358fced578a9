//! Everything that is measured still runs, on the smallest sizes. No time is judged.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{sync::Arc, time::Instant};

use hearth_bench::{Platform, Scale, rooms};
use hearth_homeserver::Spawner;
use hearth_storage::{BoxFuture, MemoryStore};

struct Tasks;

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

fn stopwatch() -> f64 {
    thread_local!(static START: Instant = Instant::now());
    START.with(|start| start.elapsed().as_secs_f64() * 1000.0)
}

#[tokio::test]
async fn everything_is_measured() {
    let platform = Platform {
        store: Arc::new(MemoryStore::new()),
        spawner: Arc::new(Tasks),
        now: || 1_700_000_000_000,
        stopwatch,
    };
    let figures = rooms(&platform, Scale::Smoke).await.unwrap();
    for name in [
        "append_to_10_ms_p50",
        "append_largest_to_smallest_ratio",
        "compare_10_of_100_us_p50",
        "resolve_v11_10_of_20_ruma_to_ours_ratio",
        "resolve_v12_10_of_20_ms_p50",
        "join_30_simulated_usable_ms",
        "join_30_simulated_complete_ms",
        "join_30_simulated_sync_longest_ms",
    ] {
        assert!(
            figures.get(name).is_some_and(|value| value > 0.0),
            "{name}: {}",
            figures.to_json()
        );
    }
}
