//! What operators can watch, beside what libp2p counts itself.

use libp2p::{
    metrics::{Metrics as Libp2p, Recorder as _, Registry},
    relay,
    swarm::SwarmEvent,
};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge};

use super::relay::BehaviourEvent;

/// The gauges of the relay, fed with the swarm's events.
pub(super) struct Metrics {
    libp2p: Libp2p,
    connections: Gauge,
    reservations: Gauge,
    circuits: Gauge,
}

impl Metrics {
    /// Registers every metric.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let libp2p = Libp2p::new(registry);
        let hearth = registry.sub_registry_with_prefix("hearth_relay");
        let mut gauge = |name, help| {
            let gauge = Gauge::default();
            hearth.register(name, help, gauge.clone());
            gauge
        };
        Self {
            libp2p,
            connections: gauge("connections", "Open connections"),
            reservations: gauge("reservations", "Reservations held"),
            circuits: gauge("circuits", "Circuits open between two peers"),
        }
    }

    /// Counts `event`.
    pub(super) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        self.libp2p.record(event);
        match event {
            SwarmEvent::ConnectionEstablished { .. } => drop(self.connections.inc()),
            SwarmEvent::ConnectionClosed { .. } => drop(self.connections.dec()),
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.record_relay(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.libp2p.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.libp2p.record(event),
            _ => {}
        }
    }

    fn record_relay(&self, event: &relay::Event) {
        self.libp2p.record(event);
        match event {
            relay::Event::ReservationReqAccepted { renewed: false, .. } => drop(self.reservations.inc()),
            relay::Event::ReservationClosed { .. } | relay::Event::ReservationTimedOut { .. } => {
                self.reservations.dec();
            }
            relay::Event::CircuitReqAccepted { .. } => drop(self.circuits.inc()),
            relay::Event::CircuitClosed { .. } => drop(self.circuits.dec()),
            _ => {}
        }
    }
}

/// Every metric in the text format.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        tracing::error!("the metrics cannot be written");
    }
    text
}
