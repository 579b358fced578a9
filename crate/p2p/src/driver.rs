//! The task that owns the swarm: turns its events, the handle's commands and time into dials, reservations
//! and streams. When to do what is decided in `relays`, `peers` and `routes`, which are pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _, StreamExt as _,
    channel::mpsc,
    future::{Fuse, FusedFuture as _},
};
use hearth_homeserver::{Clock, Spawner};
use hearth_storage::BoxFuture;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    identify, ping, relay,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use crate::{
    Config, Handler, PeerStatus, RelayAddress, RelayStatus, Status,
    backoff::Jitter,
    behaviour::{Behaviour, BehaviourEvent},
    federation::Server,
    name,
    peers::{MAX_INTEREST, Peers},
    relays::{Action, Relay, Relays},
    routes::Routes,
    streams::{Accepted, Opened},
};

/// How often the servers that we share rooms with are asked for anew, in milliseconds.
const INTEREST_INTERVAL: u64 = 60_000;
/// How often a peer that a request waits for is dialled while no relay of ours is connected, in milliseconds.
const OFFLINE_RETRY: u64 = 1_000;
/// A clock that is set back by more, in milliseconds, is noticed.
const CLOCK_STEP: u64 = 5_000;
/// Servers that we share rooms with, and whose requests are therefore not a stranger's.
const MAX_KNOWN: usize = 10_000;
/// Addresses of one identify message that are looked at.
const MAX_ADDRESSES: usize = 16;

/// What the handle asks for.
pub(crate) enum Command {
    /// Open a stream, dialling if need be.
    Open { peer: PeerId, opened: Opened },
    /// Answer other servers with this handler.
    Serve(Arc<dyn Handler>),
    /// Keep reservations at these relays.
    AddRelays(Vec<RelayAddress>),
    /// A peer may be reached through these relays.
    AddRoute(PeerId, Vec<RelayAddress>),
    /// A room is shared with this peer from now on.
    Meet(PeerId),
    /// Retry everything now.
    Wake,
}

/// A request that waits for its peer to be connected.
struct Waiting {
    opened: Opened,
    /// When to give up, in milliseconds.
    until: u64,
}

/// The state of the task.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    commands: mpsc::UnboundedReceiver<Command>,
    status: Arc<Mutex<Status>>,
    server: Arc<Server>,
    handler: Option<Arc<dyn Handler>>,
    relays: Relays,
    /// The newest listener at each relay; it ends with the reservation.
    listeners: HashMap<PeerId, ListenerId>,
    routes: Routes,
    /// The peers whose routes the handler was told of since those of interest were asked for, and whether there is news
    /// since: they may send as much as they like.
    told: HashMap<PeerId, bool>,
    peers: Peers,
    waiting: HashMap<PeerId, Vec<Waiting>>,
    dial_timeout: u64,
    /// The handler's answer to which peers are of interest, while it is awaited.
    interest: Fuse<BoxFuture<'static, Vec<String>>>,
    /// When to ask for it again, in milliseconds.
    interest_at: u64,
    timer: Fuse<BoxFuture<'static, ()>>,
    /// When `timer` goes off, in milliseconds.
    timer_at: u64,
    /// When what was due was last done, in milliseconds.
    advanced: u64,
    /// Whether the published status is out of date.
    changed: bool,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        config: &Config,
        clock: Arc<dyn Clock>,
        spawner: Arc<dyn Spawner>,
        status: Arc<Mutex<Status>>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let jitter = Jitter::new(seed(swarm.local_peer_id(), clock.now()));
        Self {
            swarm,
            server: Arc::new(Server::new(config, clock.clone())),
            clock,
            spawner,
            commands,
            status,
            handler: None,
            relays: Relays::new(jitter.clone()),
            listeners: HashMap::new(),
            routes: Routes::default(),
            told: HashMap::new(),
            peers: Peers::new(jitter),
            waiting: HashMap::new(),
            dial_timeout: milliseconds(config.dial_timeout),
            interest: Fuse::terminated(),
            interest_at: 0,
            timer: Fuse::terminated(),
            timer_at: 0,
            advanced: 0,
            changed: true,
        }
    }

    /// Runs until every handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            self.advance();
            futures::select_biased! {
                command = self.commands.next() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
                wanted = &mut self.interest => self.interested(&wanted),
                () = &mut self.timer => {}
            }
        }
    }

    /// Does what is due, and sets the timer for what is due next.
    fn advance(&mut self) {
        let now = self.clock.now();
        if now.saturating_add(CLOCK_STEP) < self.advanced {
            // The clock was set back, and all that is to be done at a time has moved away.
            self.wake(now);
        }
        self.advanced = now;
        for action in self.relays.due(now) {
            self.relay_action(action, now);
        }
        self.serve_waiting(now);
        if self.is_online() {
            self.peers
                .due(now)
                .into_iter()
                .for_each(|peer| self.dial(peer, now));
        }
        self.ask_interest(now);
        self.set_timer(now);
        self.publish();
    }

    fn command(&mut self, command: Command) {
        let now = self.clock.now();
        // Requests come all the time, and show nothing.
        self.changed |= !matches!(command, Command::Open { .. });
        match command {
            Command::Open { peer, opened } => self.open(peer, opened, now),
            Command::Serve(handler) => {
                self.handler = Some(handler);
                self.interest_at = now;
            }
            Command::AddRelays(relays) => relays.into_iter().for_each(|relay| self.add_relay(relay, now)),
            Command::AddRoute(peer, relays) => {
                let places = &self.swarm.behaviour().streams.places;
                for relay in relays {
                    self.routes.add(peer, relay, |peer| places.is_known(peer));
                }
                self.peers.forgive(&peer, now);
            }
            Command::Meet(peer) => self.meet(peer, now),
            Command::Wake => self.wake(now),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = self.clock.now();
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => {
                self.connected(peer_id, endpoint.is_relayed(), now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                endpoint,
                num_established,
                cause,
                ..
            } => {
                tracing::info!(%peer_id, ?cause, "a connection has ended");
                self.disconnected(peer_id, endpoint.is_relayed(), num_established, now);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                tracing::info!(%peer, %error, "a dial has failed");
                self.dial_failed(peer, now);
            }
            SwarmEvent::ListenerClosed {
                listener_id, reason, ..
            } => {
                self.listener_closed(listener_id, reason.err(), now);
            }
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent, now: u64) {
        match event {
            BehaviourEvent::Streams(accepted) => self.accept(accepted),
            BehaviourEvent::Ping(event) => self.pinged(event, now),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.identified(peer_id, &info.listen_addrs);
            }
            BehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                self.reserved(relay_peer_id, now);
            }
            BehaviourEvent::Relay(_) | BehaviourEvent::Identify(_) => {}
        }
    }
}

/// Relays.
impl Driver {
    /// Whether any relay is connected, so that peers may be found.
    fn is_online(&self) -> bool {
        self.relays.connected().next().is_some()
    }

    fn add_relay(&mut self, relay: RelayAddress, now: u64) {
        let peer = relay.peer();
        self.relays.add(relay, now);
        // Somebody else may have been reached through it before it was ours.
        if self.swarm.is_connected(&peer) && !self.swarm.behaviour().streams.is_relayed(&peer) {
            self.connected(peer, false, now);
        }
    }

    fn relay_action(&mut self, action: Action, now: u64) {
        match action {
            Action::Reserve(relay) => match self.swarm.listen_on(relay.circuit()) {
                Ok(listener) => drop(self.listeners.insert(relay.peer(), listener)),
                Err(error) => {
                    tracing::warn!(%relay, %error, "the relay cannot be used");
                    self.relays.lost(&relay.peer(), now);
                }
            },
            Action::Disconnect(relay) => {
                tracing::info!(%relay, "the relay does not answer");
                // An error says that it is not connected, which is what is wanted.
                let _ = self.swarm.disconnect_peer_id(relay);
            }
        }
        self.changed = true;
    }

    fn reserved(&mut self, relay: PeerId, now: u64) {
        if self.relays.reserved(&relay, now) {
            tracing::info!(%relay, "reachable through the relay");
            self.peers.wake(now);
            self.interest_at = now;
            self.changed = true;
        }
    }

    /// The listener of a reservation ends with it, or with the attempt to get it.
    fn listener_closed(&mut self, listener: ListenerId, error: Option<std::io::Error>, now: u64) {
        let relay = self.listeners.iter().find(|(_, current)| **current == listener);
        let Some(relay) = relay.map(|(relay, _)| *relay) else {
            return;
        };
        let error = error.map(|error| error.to_string());
        tracing::info!(%relay, error, "not reachable through the relay");
        self.listeners.remove(&relay);
        self.relays.lost(&relay, now);
        self.changed = true;
    }

    fn wake(&mut self, now: u64) {
        for action in self.relays.wake(now) {
            self.relay_action(action, now);
        }
        self.peers.wake(now);
        self.interest_at = now;
    }
}

/// Connections to peers. A peer is reached through a relay; what is connected directly is a relay.
impl Driver {
    fn connected(&mut self, peer: PeerId, relayed: bool, now: u64) {
        self.changed = true;
        if !relayed {
            match self.relays.get_mut(&peer) {
                Some(relay) => relay.connected(now),
                // Dials through it have failed if they began while it was being dialled itself.
                None => self
                    .routes
                    .through(&peer)
                    .for_each(|other| self.peers.hasten(other, now)),
            }
            return;
        }
        if !self.peers.connected(peer) {
            return;
        }
        for waiting in self.waiting.remove(&peer).unwrap_or_default() {
            self.swarm.behaviour_mut().streams.open(peer, waiting.opened);
        }
        if let (Some(handler), Some(server)) = (&self.handler, name::server_name(&peer)) {
            tracing::info!(server, "connected");
            handler.peer_online(&server);
        }
    }

    fn disconnected(&mut self, peer: PeerId, relayed: bool, remaining: u32, now: u64) {
        self.changed = true;
        if relayed {
            self.peers.disconnected(&peer, now);
        } else if remaining == 0
            && let Some(relay) = self.relays.get_mut(&peer)
        {
            relay.disconnected();
        }
    }

    /// Dials `peer` through every relay that may lead to it; it already counts as being dialled.
    fn dial(&mut self, peer: PeerId, now: u64) {
        let addresses = self.routes.candidates(peer, &self.relays);
        if addresses.is_empty() {
            self.peers.dial_void(&peer, now);
            return;
        }
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "a dial cannot start");
            self.dial_failed(peer, now);
        }
    }

    /// While no relay is connected it is not the peer's fault: requests to it then wait on.
    fn dial_failed(&mut self, peer: PeerId, now: u64) {
        if !self.is_online() {
            self.peers.dial_void(&peer, now);
        } else if self.peers.dial_failed(&peer, now) {
            let waiting = self.waiting.remove(&peer).unwrap_or_default();
            waiting
                .into_iter()
                .for_each(|waiting| unreachable(waiting.opened));
            let mut theirs = self.routes.of(&peer).map(RelayAddress::peer);
            if theirs.any(|relay| !self.relays.contains(&relay) && self.swarm.is_connected(&relay)) {
                self.peers.hasten(&peer, now);
            }
        }
    }

    fn pinged(&mut self, event: ping::Event, now: u64) {
        match event.result {
            Ok(rtt) => {
                self.relays.heard(&event.peer, rtt, now);
                if let Some(peer) = self.peers.get_mut(&event.peer) {
                    peer.rtt = Some(rtt);
                }
                self.changed = true;
            }
            Err(ping::Failure::Unsupported) => {}
            // The first of a row of failures is not reported: this is at least the second.
            Err(error) => {
                tracing::info!(peer = %event.peer, %error, "the connection is dead");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// Remembers the relays that `peer` says it is reachable through.
    fn identified(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        if !self.peers.is_connected(&peer) {
            return;
        }
        // A relay in a private network is worth trying only if ours are in one too.
        let private = self
            .relays
            .iter()
            .filter_map(Relay::address)
            .any(|relay| !relay.is_public());
        let relays = addresses
            .iter()
            .take(MAX_ADDRESSES)
            .filter_map(RelayAddress::of_circuit);
        let mut news = false;
        let places = &self.swarm.behaviour().streams.places;
        for relay in relays.filter(|relay| private || relay.is_public()) {
            news |= self.routes.add(peer, relay, |peer| places.is_known(peer));
        }
        if news && places.is_known(&peer) {
            let is_first = !self.told.contains_key(&peer);
            self.told.insert(peer, !is_first);
            if is_first {
                self.tell_route(&peer);
            }
        }
    }

    /// Tells the handler through which relays `peer` says it is reachable.
    fn tell_route(&self, peer: &PeerId) {
        let relays: Vec<_> = self.routes.of(peer).map(ToString::to_string).collect();
        if let (false, Some(handler), Some(server)) =
            (relays.is_empty(), &self.handler, name::server_name(peer))
        {
            handler.route_learned(&server, &relays);
        }
    }
}

/// Requests.
impl Driver {
    /// Opens a stream over a connection that is there, or lets the request wait for one.
    fn open(&mut self, peer: PeerId, opened: Opened, now: u64) {
        if self.peers.is_connected(&peer) {
            self.swarm.behaviour_mut().streams.open(peer, opened);
        } else if self.peers.is_refused(&peer, now) {
            unreachable(opened);
        } else {
            let until = now.saturating_add(self.dial_timeout);
            self.waiting
                .entry(peer)
                .or_default()
                .push(Waiting { opened, until });
        }
    }

    /// Gives up on requests that have waited too long, and dials the peers that the others wait for.
    fn serve_waiting(&mut self, now: u64) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiting| !waiting.opened.is_canceled());
            let late = waiting.extract_if(.., |waiting| waiting.until <= now);
            late.for_each(|waiting| unreachable(waiting.opened));
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        let wanted: Vec<_> = self.waiting.keys().copied().collect();
        for peer in wanted {
            let possible = !self.routes.candidates(peer, &self.relays).is_empty();
            if possible && self.peers.start_dial(peer, now) {
                self.dial(peer, now);
            }
        }
    }

    /// Serves a stream that a peer has opened. One whose id is no Ed25519 key has no server name: reset.
    fn accept(&mut self, Accepted { peer, stream }: Accepted) {
        let Some(name) = name::server_name(&peer) else {
            return;
        };
        let is_stranger = !self.swarm.behaviour().streams.places.is_known(&peer);
        let (server, handler) = (self.server.clone(), self.handler.clone());
        self.spawner.spawn(Box::pin(async move {
            server.serve(peer, name, is_stranger, stream, handler).await
        }));
    }
}

/// Upkeep.
impl Driver {
    fn ask_interest(&mut self, now: u64) {
        let Some(handler) = self.handler.clone() else {
            return;
        };
        if self.interest_at <= now && self.interest.is_terminated() {
            let ask: BoxFuture<'static, _> = Box::pin(async move { handler.peers_of_interest().await });
            self.interest = ask.fuse();
            self.interest_at = now.saturating_add(INTEREST_INTERVAL);
        }
    }

    /// Those of interest that are being asked for may be without `peer`: then they are asked for once more.
    fn meet(&mut self, peer: PeerId, now: u64) {
        self.swarm.behaviour_mut().streams.places.meet(peer);
        self.tell_route(&peer);
        if !self.interest.is_terminated() {
            self.interest_at = now;
        }
    }

    fn interested(&mut self, servers: &[String]) {
        let us = *self.swarm.local_peer_id();
        let peers = servers
            .iter()
            .filter_map(|server| name::peer_id(server))
            .filter(|peer| *peer != us);
        let known: Vec<_> = peers.take(MAX_KNOWN).collect();
        let wanted = known.iter().copied().take(MAX_INTEREST).collect();
        let places = &mut self.swarm.behaviour_mut().streams.places;
        places.set_known(known.into_iter().collect());
        self.peers.set_interest(&wanted, self.clock.now());
        for (peer, has_news) in std::mem::take(&mut self.told) {
            if has_news {
                self.tell_route(&peer);
            }
        }
        self.changed = true;
    }

    fn set_timer(&mut self, now: u64) {
        let peers = if self.is_online() {
            self.peers.deadline()
        } else {
            None
        };
        let waiting = self.waiting.values().flatten().map(|waiting| waiting.until).min();
        let retry = (waiting.is_some() && !self.is_online()).then(|| now.saturating_add(OFFLINE_RETRY));
        let may_ask = self.handler.is_some() && self.interest.is_terminated();
        let interest = may_ask.then_some(self.interest_at);
        let Some(next) = [self.relays.deadline(), peers, waiting, retry, interest]
            .into_iter()
            .flatten()
            .min()
        else {
            return;
        };
        if self.timer.is_terminated() || next < self.timer_at {
            self.timer = self
                .clock
                .sleep(Duration::from_millis(next.saturating_sub(now).max(1)))
                .fuse();
            self.timer_at = next;
        }
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.changed) {
            let status = self.status();
            *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        }
    }

    fn status(&self) -> Status {
        let mut peers: Vec<_> = self
            .peers
            .shown()
            .filter_map(|(id, peer)| {
                let server_name = name::server_name(id)?;
                let relayed = self.swarm.behaviour().streams.is_relayed(id);
                let rtt_ms = peer.rtt.map(rtt_ms);
                Some(PeerStatus {
                    server_name,
                    connected: peer.is_connected(),
                    relayed,
                    rtt_ms,
                })
            })
            .collect();
        peers.sort_by(|left, right| left.server_name.cmp(&right.server_name));
        let relays = self.relays.iter().filter_map(|relay| {
            let address = relay.address()?.to_string();
            let rtt_ms = relay.rtt.map(rtt_ms);
            Some(RelayStatus {
                address,
                connected: relay.is_connected(),
                reserved: relay.is_reserved(),
                rtt_ms,
            })
        });
        Status {
            peer_id: self.swarm.local_peer_id().to_string(),
            relays: relays.collect(),
            peers,
        }
    }
}

/// Tells a request that its peer cannot be reached; it may have given up.
fn unreachable(opened: Opened) {
    drop(opened.send(None));
}

fn rtt_ms(rtt: Duration) -> f64 {
    rtt.as_secs_f64() * 1000.0
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Differs between nodes and between starts.
fn seed(peer: &PeerId, now: u64) -> u64 {
    peer.to_bytes()
        .iter()
        .fold(now, |seed, byte| seed.rotate_left(5) ^ u64::from(*byte))
}
