//! One homeserver of a world: its store, which outlives crashes, and the process, which does not.

use std::{sync::Arc, time::Duration};

use hearth_api::{Api, ApiConfig};
use hearth_homeserver::{Clock, Config, Error, Homeserver, Identity, Rng, Seams};
use hearth_storage::{MemoryStore, Store, Table};

use crate::{
    clock::VirtualClock,
    executor::{Executor, Owner},
    network::Network,
    store::{Lookups, SlowStore},
};

/// A homeserver.
pub struct Server {
    name: String,
    store: Arc<dyn Store>,
    lookups: Arc<Lookups>,
    pub(crate) process: Option<Process>,
}

/// A homeserver that runs.
pub(crate) struct Process {
    pub(crate) owner: Owner,
    pub(crate) homeserver: Arc<Homeserver>,
    pub(crate) api: Api,
}

/// What a process is started with.
#[derive(Clone)]
pub(crate) struct Platform {
    pub(crate) clock: VirtualClock,
    pub(crate) executor: Executor,
    pub(crate) network: Network,
    /// The longest that a commit takes.
    pub(crate) commit_delay: Duration,
    /// Whether servers tell each other who is there.
    pub(crate) presence: bool,
}

impl Server {
    /// A server with an empty store.
    pub(crate) fn new() -> Self {
        Self {
            name: String::new(),
            store: Arc::new(MemoryStore::default()),
            lookups: Arc::default(),
            process: None,
        }
    }

    /// The server name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What counts the look-ups of this server's processes.
    pub(crate) fn counter(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// How many keys of `table` its processes have looked up so far, one by one or many at once. Ranges are not counted.
    pub fn lookups(&self, table: Table) -> usize {
        self.lookups.of(table)
    }

    /// The running homeserver; `None` while it is down.
    pub fn homeserver(&self) -> Option<&Arc<Homeserver>> {
        self.process.as_ref().map(|process| &process.homeserver)
    }

    /// The running homeserver's API; `None` while it is down.
    pub fn api(&self) -> Option<&Api> {
        self.process.as_ref().map(|process| &process.api)
    }

    /// Takes over a process that was started on this server's store.
    pub(crate) fn run(&mut self, process: Process) {
        self.name = process.homeserver.server_name().to_string();
        self.process = Some(process);
    }
}

impl Process {
    /// Starts a homeserver on `store` as `owner`.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        lookups: Arc<Lookups>,
        owner: Owner,
        rng: Arc<dyn Rng>,
        platform: Platform,
    ) -> Result<Self, Error> {
        let identity = Identity::load_or_create(&*store, &*rng).await?;
        let name = identity.server_name().to_owned();
        let store = SlowStore::over(store, lookups, &platform, rng.clone());
        let seams = Seams {
            store,
            federation: platform.network.of(&name),
            clock: Arc::new(platform.clock) as Arc<dyn Clock>,
            rng,
            spawner: platform.executor.spawner(owner),
            images: Arc::new(hearth_homeserver::NoImages),
        };
        let config = Config {
            presence: platform.presence,
            ..Config::default()
        };
        let homeserver = Homeserver::open(seams, identity, config).await?;
        let api = Api::new(homeserver.clone(), ApiConfig::default());
        platform.network.attach(&name, owner, api.clone());
        Ok(Self {
            owner,
            homeserver,
            api,
        })
    }
}
