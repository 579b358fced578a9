//! `hearth-node homeserver`: the homeserver of `hearth-homeserver` behind plain HTTP.
//!
//! With `--relay` it federates as a browser does, over libp2p through relays, and so needs the name that is
//! its key. It does *not* speak the HTTPS federation of other Matrix servers.

mod http_server;
mod images;
mod peers;
mod platform;
mod public_url;

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use hearth_api::{Api, ApiConfig, RateLimit};
use hearth_homeserver::{
    Clock, Config, Federation, Homeserver, Identity, Rng, Seams, Spawner, accounts::user::other_owner,
    turn::Turn,
};
use hearth_p2p::Network;
use hearth_storage::{MemoryStore, RedbStore, Store};

use self::{
    images::Decoder,
    peers::{NoPeers, Peers},
    platform::{OsRng, TokioClock, TokioSpawner},
};
use crate::{arguments, listener::Listener};

/// The database within the folder of `--data`.
const DATABASE: &str = "hearth.redb";
/// Sign-ins from one address and writes of one user: ten a second in the long run, a hundred at once.
const RATE_LIMIT: RateLimit = RateLimit {
    per_second: 10.0,
    burst: 100.0,
};

/// Serves until the process is told to end.
pub(crate) async fn run(options: arguments::Homeserver) -> Result<()> {
    let store = open_store(options.data.as_deref())?;
    let identity = identity(&*store, options.server_name).await?;
    check_owner(&*store, identity.server_name()).await?;
    let is_key = hearth_p2p::name::peer_id(identity.server_name()).is_some();
    if !options.relays.is_empty() && !is_key {
        bail!(
            "--relay needs the server name that is the key: leave out --server-name {}",
            identity.server_name()
        );
    }
    let listener = Listener::bind(options.listen)?;
    let network = start_network(&identity, options.relays)?;
    let config = Config {
        open_registration: options.open_registration,
        guests: options.guests,
        default_room_version: options.default_room_version,
        turn: turn(options.turn_uris, options.turn_secret.as_deref())?,
        ..Config::default()
    };
    let seams = seams(store, network.as_ref());
    let homeserver = Homeserver::open(seams, identity, config).await?;
    let api = Api::new(
        Arc::clone(&homeserver),
        ApiConfig {
            base_url: Some(public_url::told(options.public_url)),
            rate_limit: (!options.no_rate_limits).then_some(RATE_LIMIT),
        },
    );
    if let Some(network) = &network {
        network.serve(Arc::new(Peers::new(api.clone(), Arc::clone(&homeserver))));
    }
    let announcement = format!("Homeserver {} at {}", homeserver.server_name(), listener.url());
    listener.serve(http_server::router(api), &announcement).await
}

/// The TURN server, if there is one. The secret is the first line of its file.
fn turn(uris: Vec<String>, secret: Option<&Path>) -> Result<Option<Turn>> {
    let Some(path) = secret else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        bail!("there is no secret in {}", path.display());
    }
    let secret = secret.as_bytes().to_vec();
    Ok(Some(Turn { uris, secret }))
}

fn open_store(folder: Option<&Path>) -> Result<Arc<dyn Store>> {
    let Some(folder) = folder else {
        tracing::warn!("no --data: nothing outlives this process");
        return Ok(Arc::new(MemoryStore::new()));
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(DATABASE);
    let store = RedbStore::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Arc::new(store))
}

/// The stored key, under `name` if one is asked for.
async fn identity(store: &dyn Store, name: Option<String>) -> Result<Identity> {
    let identity = Identity::load_or_create(store, &OsRng).await?;
    match name {
        Some(name) if name != identity.server_name() => {
            if hearth_p2p::name::peer_id(&name).is_some() {
                bail!("--server-name {name} is the key of another server");
            }
            Ok(identity.named(name))
        }
        _ => Ok(identity),
    }
}

/// Refuses a name under which nobody who has an account here could log in: the name is part of what is stored.
async fn check_owner(store: &dyn Store, name: &str) -> Result<()> {
    match other_owner(store, name).await? {
        Some(owner) if hearth_p2p::name::peer_id(owner.as_str()).is_some() => {
            bail!(
                "the accounts in the database are of the server named by its key: leave out --server-name {name}"
            )
        }
        Some(owner) => {
            bail!("the accounts in the database are of another server: give --server-name {owner}")
        }
        None => Ok(()),
    }
}

/// The network, if there is a relay to reach it through.
fn start_network(identity: &Identity, relays: Vec<String>) -> Result<Option<Network>> {
    if relays.is_empty() {
        return Ok(None);
    }
    let config = hearth_p2p::Config {
        relays,
        ..hearth_p2p::Config::default()
    };
    let network = Network::start(*identity.seed(), config, clock(), spawner())?;
    Ok(Some(network))
}

fn seams(store: Arc<dyn Store>, network: Option<&Network>) -> Seams {
    let federation: Arc<dyn Federation> = match network {
        Some(network) => Arc::new(network.clone()),
        None => Arc::new(NoPeers),
    };
    let rng: Arc<dyn Rng> = Arc::new(OsRng);
    Seams {
        store,
        federation,
        clock: clock(),
        rng,
        spawner: spawner(),
        images: Arc::new(Decoder),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock)
}

fn spawner() -> Arc<dyn Spawner> {
    Arc::new(TokioSpawner)
}
