//! `GET /_hearth/status`: who this homeserver is, how it started, and what its network does.

use hearth_p2p::Network;
use serde::Serialize;

/// How long each step of the start took, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct BootTimes {
    /// Fetching, compiling and instantiating the module, as the service worker measured it.
    pub(crate) module_ms: f64,
    pub(crate) database_ms: f64,
    pub(crate) identity_ms: f64,
    pub(crate) network_ms: f64,
    pub(crate) homeserver_ms: f64,
}

/// The answer.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    pub(crate) server_name: &'a str,
    pub(crate) version: &'a str,
    /// When this instance started, in milliseconds since the Unix epoch.
    pub(crate) started_ms: u64,
    pub(crate) boot: &'a BootTimes,
    /// How much memory the module has, used or not: it never gives any back.
    pub(crate) memory_bytes: usize,
    pub(crate) network: hearth_p2p::Status,
}

impl<'a> Status<'a> {
    pub(crate) fn of(about: &'a About, network: &Network) -> Self {
        Self {
            server_name: &about.server_name,
            version: &about.version,
            started_ms: about.started_ms,
            boot: &about.boot,
            memory_bytes: memory_bytes(),
            network: network.status(),
        }
    }
}

fn memory_bytes() -> usize {
    const PAGE: usize = 64 << 10;
    core::arch::wasm32::memory_size::<0>() * PAGE
}

/// What does not change while the instance lives.
pub(crate) struct About {
    pub(crate) server_name: String,
    pub(crate) version: String,
    pub(crate) started_ms: u64,
    pub(crate) boot: BootTimes,
}
