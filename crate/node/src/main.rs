//! The native Hearth node.
//!
//! `hearth-node serve` serves the app and is a relay that browsers meet at. `hearth-node homeserver` is the
//! homeserver that otherwise lives in a browser, over plain HTTP. One does *not* contain the other: the relay
//! knows neither accounts nor rooms.

mod arguments;
mod homeserver;
mod listener;
mod serve;

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> Result<()> {
    log_to_stderr();
    match Arguments::parse().command {
        Command::Serve(options) => serve::run(options).await,
        Command::Homeserver(options) => homeserver::run(options).await,
    }
}

/// What is logged unless `RUST_LOG` says otherwise. The authorisation rules explain every event they pass.
const LOG: &str = "info,libp2p_swarm=warn,ruma_state_res=warn";

/// Standard output is for the URL, which scripts read.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let writes = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if io::stderr().is_terminal() {
        writes.init();
    } else {
        writes.with_ansi(false).init();
    }
}
