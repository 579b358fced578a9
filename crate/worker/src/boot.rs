//! Starting the homeserver: database, identity, network, homeserver, API, in this order.
//!
//! Nothing here waits for the network, which begins to work only when the first requests had their chance.

use std::{rc::Rc, sync::Arc};

use hearth_api::{Api, ApiConfig};
use hearth_homeserver::{Clock, Federation, Homeserver, Identity, Seams, Spawner};
use hearth_p2p::Network;
use hearth_storage::{IndexedDbStore, Store};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::{
    addresses::Addresses,
    canvas::Canvas,
    clock::{self, BrowserClock},
    hearth::{Hearth, Instance},
    inbound::Inbound,
    log, panic,
    rng::BrowserRng,
    spawner::{BrowserSpawner, LateSpawner},
    status::{About, BootTimes},
};

/// The name of the database.
const DATABASE: &str = "hearth";

#[wasm_bindgen]
extern "C" {
    /// What the service worker gives to a new instance.
    pub type Config;
    /// The version of the app.
    #[wasm_bindgen(method, getter)]
    fn version(this: &Config) -> String;
    /// The origin under which the page reaches the API.
    #[wasm_bindgen(method, getter)]
    fn origin(this: &Config) -> String;
    /// Multiaddrs of relays from the last `config.json`.
    #[wasm_bindgen(method, getter)]
    fn relays(this: &Config) -> Vec<String>;
    /// The lines that earlier instances logged, as a JSON list.
    #[wasm_bindgen(method, getter)]
    fn log(this: &Config) -> String;
    /// How long the module took to load, in milliseconds.
    #[wasm_bindgen(method, getter, js_name = moduleMs)]
    fn module_ms(this: &Config) -> f64;
    /// Aborted when the instance is given up.
    #[wasm_bindgen(method, getter)]
    fn death(this: &Config) -> AbortSignal;
    /// Called as `onLost(message, log)` when the instance is lost.
    #[wasm_bindgen(method, getter, js_name = onLost)]
    fn on_lost(this: &Config) -> js_sys::Function;
}

/// Starts the homeserver whose data is in the database of this origin.
///
/// # Errors
/// A JavaScript `Error` that says which step failed and why.
#[wasm_bindgen]
pub async fn start(config: Config) -> Result<Hearth, JsError> {
    panic::install(config.on_lost());
    log::install(&config.log());
    let started_ms = clock::now();
    let mut lap = Lap::start();
    let mut boot = BootTimes {
        module_ms: config.module_ms(),
        ..BootTimes::default()
    };

    let database = IndexedDbStore::open(DATABASE).await?;
    database.on_loss(|why| panic::lose("database", why.to_owned()));
    let store: Arc<dyn Store> = Arc::new(database);
    boot.database_ms = lap.next();
    let identity = Identity::load_or_create(&*store, &BrowserRng).await?;
    boot.identity_ms = lap.next();
    let server_name = identity.server_name().to_owned();
    let addresses = Addresses::new(store.clone());
    let network = start_network(&identity, config.relays(), addresses.clone())?;
    boot.network_ms = lap.next();
    let homeserver = open(store, &network, identity).await?;
    let api = Api::new(homeserver.clone(), api_config(&config));
    boot.homeserver_ms = lap.next();

    network.serve(Arc::new(Inbound {
        api: api.clone(),
        homeserver,
        network: network.clone(),
        addresses: addresses.clone(),
    }));
    tracing::info!(server_name, ?boot, "started");
    let about = About {
        server_name,
        version: config.version(),
        started_ms,
        boot,
    };
    Ok(Hearth(Rc::new(Instance {
        api,
        network,
        addresses,
        about,
        death: config.death(),
    })))
}

fn start_network(identity: &Identity, relays: Vec<String>, addresses: Addresses) -> Result<Network, JsError> {
    let config = hearth_p2p::Config {
        relays,
        ..hearth_p2p::Config::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(BrowserClock);
    let spawner: Arc<dyn Spawner> = Arc::new(LateSpawner::new());
    let network = Network::start(*identity.seed(), config, clock, spawner.clone())?;
    let started = network.clone();
    spawner.spawn(Box::pin(async move {
        if let Err(error) = addresses.apply(&started).await {
            tracing::warn!(%error, "what was known of relays and routes cannot be read");
        }
    }));
    Ok(network)
}

async fn open(
    store: Arc<dyn Store>,
    network: &Network,
    identity: Identity,
) -> Result<Arc<Homeserver>, JsError> {
    let federation: Arc<dyn Federation> = Arc::new(network.clone());
    let seams = Seams {
        store,
        federation,
        clock: Arc::new(BrowserClock),
        rng: Arc::new(BrowserRng),
        spawner: Arc::new(BrowserSpawner),
        images: Arc::new(Canvas),
    };
    Ok(Homeserver::open(seams, identity, hearth_homeserver::Config::default()).await?)
}

fn api_config(config: &Config) -> ApiConfig {
    let origin = config.origin();
    ApiConfig {
        base_url: Some(Box::new(move |_| Some(origin.clone()))),
        ..ApiConfig::default()
    }
}

/// Measures the steps.
struct Lap(f64);

impl Lap {
    fn start() -> Self {
        Self(clock::stopwatch())
    }

    /// Milliseconds since the last step ended.
    fn next(&mut self) -> f64 {
        let before = std::mem::replace(&mut self.0, clock::stopwatch());
        self.0 - before
    }
}
