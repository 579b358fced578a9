//! A relay, a platform and a handler for the tests of the network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod raw_peer;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hearth_homeserver::{Clock, Spawner};
use hearth_p2p::{Answer, Config, Handler, Network, Status, name, transport};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use libp2p::{
    Multiaddr, Swarm, identify,
    identity::Keypair,
    ping, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent},
    tcp, websocket,
};
use tokio::{sync::mpsc, task::JoinHandle};

/// The system's clock and tokio's timers.
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that can be set back.
#[derive(Default)]
pub struct SteppingClock(AtomicU64);

impl SteppingClock {
    pub fn set_back(&self, step: Duration) {
        let step = u64::try_from(step.as_millis()).unwrap();
        self.0.fetch_add(step, Ordering::Relaxed);
    }
}

impl Clock for SteppingClock {
    fn now(&self) -> u64 {
        TokioClock.now() - self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioClock.sleep(duration)
    }
}

/// Tasks of tokio, which end when this is dropped: the node is switched off.
#[derive(Default)]
pub struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(tokio::spawn(task));
    }
}

impl Tasks {
    pub fn stop(&self) {
        self.0.lock().unwrap().drain(..).for_each(|task| task.abort());
    }
}

#[derive(NetworkBehaviour)]
pub struct RelayBehaviour {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// A relay on 127.0.0.1, as the native node is one.
pub struct Relay {
    keypair: Keypair,
    pub port: u16,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn start() -> Self {
        let keypair = Keypair::generate_ed25519();
        let (port, task) = run(&keypair, 0).await;
        Self { keypair, port, task }
    }

    pub fn address(&self) -> String {
        let peer = self.keypair.public().to_peer_id();
        format!("/ip4/127.0.0.1/tcp/{}/ws/p2p/{peer}", self.port)
    }

    /// Ends it and with it every connection.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Starts it anew with the same key and port.
    pub async fn restart(&mut self) {
        self.task = run(&self.keypair, self.port).await.1;
    }
}

async fn run(keypair: &Keypair, port: u16) -> (u16, JoinHandle<()>) {
    let mut swarm = relay_swarm(keypair);
    swarm
        .listen_on(format!("/ip4/127.0.0.1/tcp/{port}/ws").parse().unwrap())
        .unwrap();
    let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await else {
        panic!("the relay does not listen")
    };
    swarm.add_external_address(address.clone());
    let task = tokio::spawn(async move {
        loop {
            swarm.next().await;
        }
    });
    (tcp_port(&address), task)
}

fn tcp_port(address: &Multiaddr) -> u16 {
    address
        .iter()
        .find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}

/// Its connections are driven by its own task, so that they end with it.
fn relay_swarm(keypair: &Keypair) -> Swarm<RelayBehaviour> {
    let peer = keypair.public().to_peer_id();
    let sockets = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)));
    let config = relay::Config {
        max_circuit_bytes: 1 << 40,
        max_circuits_per_peer: 64,
        ..relay::Config::default()
    };
    let behaviour = RelayBehaviour {
        relay: relay::Behaviour::new(
            peer,
            relay::Config {
                reservation_rate_limiters: Vec::new(),
                circuit_src_rate_limiters: Vec::new(),
                ..config
            },
        ),
        identify: identify::Behaviour::new(identify::Config::new("/test".into(), keypair.public())),
        ping: ping::Behaviour::default(),
    };
    let transport = transport::authenticated(sockets, keypair).unwrap();
    let config = swarm::Config::without_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(transport, behaviour, peer, config)
}

/// The output of `work`, which ends soon unless something is broken.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.unwrap()
}

/// Echoes bodies with the sender's name and the request's line, and tells of peers that come online. `/never` is never
/// answered, the answer to `/endless` has no end
/// after the body, and that to `/pieces/1,2` is pieces of so many KiB.
pub struct Echo {
    pub online: mpsc::UnboundedSender<String>,
    pub learned: mpsc::UnboundedSender<(String, usize)>,
    pub interest: Vec<String>,
}

impl Handler for Echo {
    fn handle(&self, from: String, request: Request<Bytes>) -> BoxFuture<'_, Response<Answer>> {
        Box::pin(async move {
            if request.uri() == "/never" {
                std::future::pending::<()>().await;
            }
            let is_endless = request.uri() == "/endless";
            let line = format!("{} {}", request.method(), request.uri());
            let response = Response::builder()
                .status(201)
                .header("x-from", from)
                .header("x-line", line);
            let pieces = match request.uri().path().strip_prefix("/pieces/") {
                Some(sizes) => sizes.split(',').map(zeros).collect(),
                None => vec![Ok(request.into_body())],
            };
            let pieces = stream::iter(pieces);
            let body = match is_endless {
                true => Answer::stream(pieces.chain(stream::pending())),
                false => Answer::stream(pieces),
            };
            response.body(body).unwrap()
        })
    }

    fn peer_online(&self, server: &str) {
        let _ = self.online.send(server.to_owned());
    }

    fn route_learned(&self, server: &str, relays: &[String]) {
        let _ = self.learned.send((server.to_owned(), relays.len()));
    }

    fn peers_of_interest(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { self.interest.clone() })
    }
}

/// So many KiB.
fn zeros(size: &str) -> std::io::Result<Bytes> {
    Ok(vec![0; size.parse::<usize>().unwrap() << 10].into())
}

/// A homeserver's network without the homeserver.
pub struct Node {
    pub network: Network,
    pub name: String,
    pub online: mpsc::UnboundedReceiver<String>,
    /// Servers that said where they are, and the number of relays.
    pub learned: mpsc::UnboundedReceiver<(String, usize)>,
    pub tasks: Arc<Tasks>,
}

impl Node {
    pub fn start(seed: u8, relays: &[&Relay], interest: &[&Node]) -> Self {
        let interest = interest.iter().map(|node| node.name.clone()).collect();
        Self::start_with(seed, Config::default(), relays, interest)
    }

    pub fn start_with(seed: u8, config: Config, relays: &[&Relay], interest: Vec<String>) -> Self {
        Self::start_at(seed, config, Arc::new(TokioClock), relays, interest)
    }

    pub fn start_at(
        seed: u8,
        config: Config,
        clock: Arc<dyn Clock>,
        relays: &[&Relay],
        interest: Vec<String>,
    ) -> Self {
        let tasks = Arc::new(Tasks::default());
        let config = Config {
            relays: relays.iter().map(|relay| relay.address()).collect(),
            ..config
        };
        let network = Network::start([seed; 32], config, clock, tasks.clone()).unwrap();
        let (tell_online, online) = mpsc::unbounded_channel();
        let (tell_learned, learned) = mpsc::unbounded_channel();
        network.serve(Arc::new(Echo {
            online: tell_online,
            learned: tell_learned,
            interest,
        }));
        Self {
            network,
            name: server_name(seed),
            online,
            learned,
            tasks,
        }
    }

    /// Waits until the status is as `wanted` says.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) {
        let wait = async {
            while !wanted(&self.network.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
            panic!("not {what}: {:?}", self.network.status());
        }
    }

    /// Waits until `count` relays hold a reservation.
    pub async fn reserved(&self, count: usize) {
        self.until("reserved", |status| {
            status.relays.iter().filter(|relay| relay.reserved).count() == count
        })
        .await;
    }
}

pub fn server_name(seed: u8) -> String {
    let peer = Keypair::ed25519_from_bytes([seed; 32])
        .unwrap()
        .public()
        .to_peer_id();
    name::server_name(&peer).unwrap()
}
