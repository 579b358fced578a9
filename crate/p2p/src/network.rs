//! The handle by which the rest of a homeserver uses the network.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::channel::mpsc;
use hearth_homeserver::{Clock, Federation, FederationError, Spawner};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use libp2p::{PeerId, identity::Keypair};

use crate::{
    Config, Handler, RelayAddress, Status,
    driver::{Command, Driver},
    federation::Client,
    name, swarm,
};

/// A handle to a running network. Clones are cheap and drive the same swarm, which stops when all are gone.
#[derive(Clone)]
pub struct Network {
    commands: mpsc::UnboundedSender<Command>,
    client: Arc<Client>,
    status: Arc<Mutex<Status>>,
}

/// Why a network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No libp2p identity can be made from the seed.
    #[error("the signing key is no libp2p identity: {0}")]
    Identity(String),
    /// A transport cannot be set up, such as when the system's DNS configuration cannot be read.
    #[error("a transport cannot be set up: {0}")]
    Transport(String),
}

impl Network {
    /// Starts a network whose identity is the Ed25519 key of `seed`. It connects to its relays at once.
    ///
    /// Natively this must be called within a tokio runtime whose I/O and timers are enabled.
    ///
    /// # Errors
    /// [`StartError`] if the identity or a transport cannot be made.
    pub fn start(
        seed: [u8; 32],
        config: Config,
        clock: Arc<dyn Clock>,
        spawner: Arc<dyn Spawner>,
    ) -> Result<Self, StartError> {
        let keypair =
            Keypair::ed25519_from_bytes(seed).map_err(|error| StartError::Identity(error.to_string()))?;
        let swarm = swarm::build(&keypair, &spawner)?;
        let status = Arc::new(Mutex::new(Status::default()));
        let (commands, receiver) = mpsc::unbounded();
        let driver = Driver::new(
            swarm,
            &config,
            clock.clone(),
            spawner.clone(),
            status.clone(),
            receiver,
        );
        spawner.spawn(Box::pin(driver.run()));
        let client = Arc::new(Client::new(&config, clock, commands.clone()));
        let network = Self {
            commands,
            client,
            status,
        };
        network.add_relays(config.relays);
        Ok(network)
    }

    /// Lets `handler` answer other servers from now on. Until the first call they are answered with 503.
    pub fn serve(&self, handler: Arc<dyn Handler>) {
        self.send(Command::Serve(handler));
    }

    /// Keeps a reservation at these relays too. Returns how many of the addresses are valid.
    ///
    /// Known ones, and those above the bound of 16, are left out; invalid ones are logged.
    pub fn add_relays(&self, relays: Vec<String>) -> usize {
        let relays = valid(relays);
        let count = relays.len();
        self.send(Command::AddRelays(relays));
        count
    }

    /// Remembers that `server` may be reached through these relays, as an invite link says. Returns how many
    /// of the addresses are valid; none are if the server's name is no key.
    ///
    /// A server that was just found unreachable is tried anew.
    pub fn add_route(&self, server: &str, relays: Vec<String>) -> usize {
        let Some(peer) = name::peer_id(server) else {
            return 0;
        };
        let relays = valid(relays);
        let count = relays.len();
        self.send(Command::AddRoute(peer, relays));
        count
    }

    /// What the network is doing now.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets every back-off and retries what is not connected now, as when the device comes back online.
    pub fn wake(&self) {
        self.send(Command::Wake);
    }

    /// Sends to the driver, which lives until the last handle is gone.
    fn send(&self, command: Command) {
        if self.commands.unbounded_send(command).is_err() {
            tracing::error!("the network's task has ended");
        }
    }
}

impl Federation for Network {
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        Box::pin(async move {
            let peer: PeerId = name::peer_id(destination).ok_or(FederationError::Unreachable)?;
            self.client.send(peer, request).await
        })
    }

    fn met(&self, server: &str) {
        if let Some(peer) = name::peer_id(server) {
            self.send(Command::Meet(peer));
        }
    }

    fn connected(&self) -> Vec<String> {
        let peers = self.status().peers.into_iter();
        let connected = peers.filter(|peer| peer.connected);
        connected.map(|peer| peer.server_name).collect()
    }
}

/// The valid addresses among `relays`.
fn valid(relays: Vec<String>) -> Vec<RelayAddress> {
    let parse = |relay: &String| {
        RelayAddress::parse(relay)
            .inspect_err(|error| tracing::warn!(%error, "left out a relay"))
            .ok()
    };
    relays.iter().take(64).filter_map(parse).collect()
}
