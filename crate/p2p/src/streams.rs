//! The libp2p behaviour that opens and accepts federation streams.
//!
//! Inbound connections must have a [place](Places). It does *not* dial, limit or read streams: the driver does. (`libp2p-stream` is not used: it resets an
//! inbound stream whenever two arrive before the first was taken, and never frees what it keeps of a closed
//! connection.)

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
};

use futures::channel::oneshot;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use crate::{federation::PROTOCOL, places::Places};

/// Where a stream that a request asked for goes. None: the peer is unreachable. Dropped: the connection broke.
pub(crate) type Opened = oneshot::Sender<Option<Stream>>;

/// Opens and accepts streams of [`PROTOCOL`].
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Per peer its connections, oldest first, and whether each is relayed.
    connections: HashMap<PeerId, Vec<(ConnectionId, bool)>>,
    pub(crate) places: Places,
    queue: VecDeque<ToSwarm<Accepted, Open>>,
    waker: Option<Waker>,
}

/// A stream that a peer has opened.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) peer: PeerId,
    pub(crate) stream: Stream,
}

/// Asks a connection for a new stream.
#[derive(Debug)]
pub(crate) struct Open(Opened);

impl Behaviour {
    /// Opens a stream to `peer` over its best connection: a direct one before a relayed one, then the newest.
    pub(crate) fn open(&mut self, peer: PeerId, opened: Opened) {
        let connections = self.connections.get(&peer).map(Vec::as_slice).unwrap_or_default();
        let direct = connections.iter().rev().find(|(_, relayed)| !relayed);
        let Some((connection, _)) = direct.or(connections.last()) else {
            return;
        };
        let handler = NotifyHandler::One(*connection);
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler,
            event: Open(opened),
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether every connection to `peer` goes through a relay.
    pub(crate) fn is_relayed(&self, peer: &PeerId) -> bool {
        self.connections
            .get(peer)
            .is_some_and(|all| all.iter().all(|(_, relayed)| *relayed))
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(connections) = self.connections.get_mut(&peer) else {
            return;
        };
        connections.retain(|(known, _)| *known != connection);
        if connections.is_empty() {
            self.connections.remove(&peer);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Accepted;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let source = remote.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        match self.places.begin(connection, source) {
            true => Ok(()),
            false => Err(ConnectionDenied::new("no place")),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.places.establish(connection, peer) {
            true => Ok(Handler::default()),
            false => Err(ConnectionDenied::new("no place")),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let connection = (event.connection_id, event.endpoint.is_relayed());
                self.connections
                    .entry(event.peer_id)
                    .or_default()
                    .push(connection);
            }
            FromSwarm::ConnectionClosed(event) => {
                self.places.end(event.connection_id);
                self.closed(event.peer_id, event.connection_id);
            }
            FromSwarm::ListenFailure(event) => self.places.end(event.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, stream: THandlerOutEvent<Self>) {
        self.queue
            .push_back(ToSwarm::GenerateEvent(Accepted { peer, stream }));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Accepted, THandlerInEvent<Self>>> {
        if let Some(action) = self.queue.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The part of [`Behaviour`] in one connection.
#[derive(Default)]
pub(crate) struct Handler {
    /// Bounded by the muxer's limit of streams.
    queue: VecDeque<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Opened, Stream>>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Stream;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Opened, Stream>> {
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn on_behaviour_event(&mut self, Open(opened): Open) {
        let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), opened);
        self.queue
            .push_back(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Opened>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                self.queue
                    .push_back(ConnectionHandlerEvent::NotifyBehaviour(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info,
            }) => {
                // Whoever asked may have given up; the stream is then reset by being dropped.
                drop(info.send(Some(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                tracing::debug!(%error, "a stream could not be opened");
            }
            _ => {}
        }
    }
}
