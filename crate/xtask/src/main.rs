//! Every developer command of Hearth: `cargo xtask <command>`.
//!
//! `serve` and `test` need nothing done first: they set up what is missing.

mod app;
mod bench;
mod browser;
mod check;
mod command;
mod config;
mod coverage;
mod fuzz;
mod npm;
mod python;
mod routes;
mod schemathesis;
mod serve;
mod setup;
mod sim;
mod size;
mod synapse;
mod test;
mod wasm_target;
mod wasm_tools;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Hearth")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: wasm target, wasm-bindgen, npm packages, a browser for the tests
    Setup,
    /// Build the web app (wasm, service worker, client) into target/app
    Build,
    /// Set up, build, and serve the app and a relay on localhost
    Serve {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:8008")]
        listen: String,
    },
    /// Set up and run every test
    Test {
        /// Only the named parts: format, lint, native, wasm, web, synapse, schemathesis, e2e
        parts: Vec<test::Part>,
    },
    /// Format all code
    Fmt,
    /// Lint all code
    Lint,
    /// Print the sizes of the web app, and fail above the budget in wasm-pack.toml
    Size,
    /// Print METHOD /path for each route of the router
    Routes,
    /// Run the tests of the API and print, for each tier of a list of endpoints, how many are served and tested
    Coverage,
    /// Run random episodes of many homeservers that lose each other and crash: `--seed N --episodes M --servers K`
    #[command(disable_help_flag = true)]
    Sim {
        /// As `cargo xtask sim --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Feed what reads other servers' bytes with arbitrary input
    Fuzz {
        /// One target only
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Make seeds of the inputs that reached something new
        #[arg(long)]
        keep: bool,
    },
    /// Measure the room engine, the app in a browser, and the API beside Synapse
    Bench {
        /// Only the named parts: rooms, app, api
        parts: Vec<bench::Part>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Setup => setup::everything(),
        Command::Build => setup::for_build().and_then(|()| app::build(app::Kind::Release)),
        Command::Serve { listen } => serve::start(&listen),
        Command::Test { parts } => test::all(&parts),
        Command::Fmt => check::format(),
        Command::Lint => setup::for_build().and_then(|()| check::lint()),
        Command::Size => size::print(),
        Command::Routes => routes::print(),
        Command::Coverage => coverage::print(),
        Command::Sim { arguments } => sim::episodes(&arguments),
        Command::Fuzz {
            target,
            seconds,
            keep,
        } => fuzz::start(target.as_deref(), seconds, keep),
        Command::Bench { parts, json } => bench::measure(&parts, json),
    }
}
