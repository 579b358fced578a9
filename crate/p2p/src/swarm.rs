//! Puts transports and protocols together to a swarm.

use std::{sync::Arc, time::Duration};

use hearth_homeserver::Spawner;
use libp2p::{Swarm, core::upgrade::Version, identity::Keypair, relay, swarm};

use crate::{StartError, behaviour::Behaviour, transport};

/// Connections are few and cheap to keep, and dear to make: a circuit costs several round trips.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A swarm that neither listens nor dials yet.
pub(crate) fn build(keypair: &Keypair, spawner: &Arc<dyn Spawner>) -> Result<Swarm<Behaviour>, StartError> {
    let peer = keypair.public().to_peer_id();
    let (relay_transport, relay) = relay::client::new(peer);
    let transport = transport::build(keypair, relay_transport)?;
    let config = executor(spawner)
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        // Every stream offers one protocol and writes first: the lazy form saves a round trip per request.
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    Ok(Swarm::new(
        transport,
        Behaviour::new(keypair, relay),
        peer,
        config,
    ))
}

/// Connections run as tasks of their own, beside the driver.
#[cfg(not(target_family = "wasm"))]
fn executor(spawner: &Arc<dyn Spawner>) -> swarm::Config {
    let spawner = Arc::clone(spawner);
    swarm::Config::with_executor(move |task| spawner.spawn(task))
}

/// Connections run as tasks of their own, beside the driver. libp2p wants an executor that is `Send`, which a
/// spawner in a browser need not be; it has its own for browsers.
#[cfg(target_family = "wasm")]
fn executor(_: &Arc<dyn Spawner>) -> swarm::Config {
    swarm::Config::with_wasm_executor()
}
