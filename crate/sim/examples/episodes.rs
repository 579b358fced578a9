//! Runs random episodes of many homeservers; `cargo xtask sim` calls it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use hearth_sim::episode::{self, Options, Plan, Totals};

#[derive(Parser)]
#[command(about = "Random episodes of many homeservers on a virtual network and clock")]
struct Arguments {
    /// The seed of the first episode; each further one has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many episodes
    #[arg(long, default_value_t = 100)]
    episodes: u64,
    /// How many servers
    #[arg(long, default_value_t = 8)]
    servers: usize,
    /// How many things happen in an episode
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// How many things happen between two quiet points
    #[arg(long, default_value_t = 20)]
    round: usize,
    /// Of a thousand messages between servers, how many are lost
    #[arg(long, default_value_t = 20)]
    lost: usize,
    /// Of a thousand requests between servers, how many arrive twice
    #[arg(long, default_value_t = 30)]
    doubled: usize,
    /// How many episodes run at once; as many as there are processors if not said
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after a failure, and list all seeds that fail
    #[arg(long)]
    keep_going: bool,
    /// Print what happens in every episode
    #[arg(long)]
    verbose: bool,
    /// Print what the servers log, by a filter like `hearth_homeserver=info`, to the standard error
    #[arg(long)]
    log: Option<String>,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            servers: self.servers,
            steps: self.steps,
            round: self.round,
            lost: self.lost,
            doubled: self.doubled,
        }
    }
}

/// What all threads have a part in.
#[derive(Default)]
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    totals: Totals,
    failed: Vec<(u64, &'static str)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tell_seed_on_panic();
    if let Some(filter) = &arguments.log {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time();
        log.with_ansi(false).with_writer(std::io::stderr).init();
    }
    let began = Instant::now();
    let shared = Shared::default();
    let threads = arguments
        .threads
        .or_else(|| thread::available_parallelism().ok().map(Into::into));
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1) {
            scope.spawn(|| work(&arguments, &shared));
        }
    });
    let outcome = shared
        .outcome
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("{}", outcome.totals);
    println!("seconds             {:>9.1}", began.elapsed().as_secs_f64());
    verdict(&outcome)
}

/// Runs episodes until there are no more, or one has failed.
fn work(arguments: &Arguments, shared: &Shared) {
    let options = arguments.options();
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= arguments.episodes {
            return;
        }
        let seed = arguments.seed.wrapping_add(number);
        let plan = Plan::new(seed, &options);
        let report = episode::run(seed, &options, &plan);
        if arguments.verbose {
            println!("seed {seed}\n{}", report.trace);
        }
        shared
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .totals
            .add(&report.totals);
        let Some((_, violation)) = &report.violation else {
            continue;
        };
        let mut outcome = shared.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.failed.push((seed, violation.invariant));
        drop(outcome);
        if arguments.keep_going {
            println!("seed {seed} failed: {}", violation.invariant);
            let most = if arguments.verbose { usize::MAX } else { 3 };
            for detail in violation.details.iter().take(most) {
                println!("  {}", report.trace.short(detail));
            }
        } else if !shared.stop.swap(true, Ordering::Relaxed) {
            tell(seed, arguments, &plan, &report);
        }
    }
}

/// Tells how an episode failed, in as few steps as that takes.
fn tell(seed: u64, arguments: &Arguments, plan: &Plan, report: &episode::Report) {
    println!("seed {seed} failed; looking for the shortest way to the same …");
    let options = arguments.options();
    let Some((short, report)) = episode::shrink(seed, &options, plan, report) else {
        return;
    };
    println!(
        "{} of {} steps are enough:\n{}",
        short.steps.len(),
        plan.steps.len(),
        report.trace
    );
    if let Some((step, violation)) = &report.violation {
        println!("seed {seed}, step {step}: broken: {}", violation.invariant);
        for detail in &violation.details {
            println!("  {}", report.trace.short(detail));
        }
    }
    println!(
        "again: cargo xtask sim --seed {seed} --episodes 1 --servers {} --steps {} --round {} --lost {} --doubled {}",
        arguments.servers, arguments.steps, arguments.round, arguments.lost, arguments.doubled
    );
}

fn verdict(outcome: &Outcome) -> ExitCode {
    for (seed, invariant) in &outcome.failed {
        println!("failed: seed {seed}: {invariant}");
    }
    if outcome.totals.diverged == 0 {
        println!("failed: no episode diverged, so nothing was tested");
    }
    match outcome.failed.is_empty() && outcome.totals.diverged > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A panic in a server ends everything: says where it came from.
fn tell_seed_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if let Some(episode) = episode::current() {
            eprintln!("a panic in an episode: {episode}");
        }
    }));
}
