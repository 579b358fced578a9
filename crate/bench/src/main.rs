//! `hearth-bench`: measures the room engine on this machine, in memory and in a redb file, and prints one JSON object.

use std::{
    sync::{Arc, LazyLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use hearth_bench::{Failure, Figures, Platform, Scale, append, comparison, join, resolution};
use hearth_homeserver::Spawner;
use hearth_storage::{BoxFuture, MemoryStore, RedbStore, Store};

#[derive(Parser)]
#[command(name = "hearth-bench", about = "Measures the room engine")]
struct Arguments {
    /// Only see that everything works
    #[arg(long)]
    smoke: bool,
    /// Only these: comparison, resolution, append, join
    #[arg(long)]
    only: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let figures = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure(&arguments))
        .map_err(|error| anyhow::anyhow!(error))?;
    #[allow(clippy::print_stdout, reason = "the figures are what the program is for")]
    {
        println!("{}", figures.to_json());
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Figures, Failure> {
    let scale = if arguments.smoke {
        Scale::Smoke
    } else {
        Scale::Full
    };
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut figures = Figures::default();
    if wanted("comparison") {
        figures.add(comparison::measure(stopwatch, scale)?);
    }
    if wanted("resolution") {
        figures.add(resolution::measure(stopwatch, scale)?);
    }
    if wanted("append") {
        let in_memory = append::measure(&platform(Arc::new(MemoryStore::new())), scale).await?;
        figures.add(in_memory.prefixed("memory_"));
        let folder = tempfile::tempdir()?;
        let store = RedbStore::open(folder.path().join("bench.redb"))?;
        figures.add(
            append::measure(&platform(Arc::new(store)), scale)
                .await?
                .prefixed("redb_"),
        );
    }
    if wanted("join") {
        figures.add(join::measure(stopwatch, scale)?);
    }
    Ok(figures.prefixed("native_"))
}

fn platform(store: Arc<dyn Store>) -> Platform {
    Platform {
        store,
        spawner: Arc::new(Tasks),
        now,
        stopwatch,
    }
}

struct Tasks;

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn stopwatch() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1000.0
}
