//! What a hostile server can send without end: each transaction costs as much as the one before it, however much
//! came already. Counted, not timed.
//!
//! `HEARTH_FLOOD=10000` sends so many events in each test; a few hundred are sent as a rule.

use std::env;

use hearth_rooms::Pdu;
use hearth_storage::Table;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::json;

use crate::{
    counting::Counts,
    peer::{Peer, auth_of, extremities, value},
    support::{Server, settle},
};

/// The most extremities: what an event can name.
const MOST: usize = 20;
/// How many events each transaction brings.
const TOGETHER: usize = 50;
/// How many transactions show what one costs.
const EARLY: usize = 4;
const TABLES: [Table; 5] = [
    Table::Events,
    Table::State,
    Table::Timeline,
    Table::Rooms,
    Table::Memberships,
];

/// How many events a flood has.
fn size() -> usize {
    let size = env::var("HEARTH_FLOOD").ok();
    size.and_then(|size| size.parse().ok()).unwrap_or(400)
}

/// A room with another server's user in it, and what that one's messages rest on.
struct Flood {
    server: Server,
    peer: Peer,
    room: OwnedRoomId,
    join: Pdu,
    auth: Vec<OwnedEventId>,
    pending: Vec<Pdu>,
    /// What each transaction cost.
    costs: Vec<Cost>,
}

/// What a transaction cost: calls that read, and rows read and written by table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    calls: usize,
    read: [usize; 5],
    written: [usize; 5],
}

impl Cost {
    fn of(counts: &Counts) -> Self {
        Self {
            calls: counts.reads.len(),
            read: TABLES.map(|table| counts.rows_read(table)),
            written: TABLES.map(|table| counts.rows_written(table)),
        }
    }

    /// The greater of each figure.
    fn most(self, other: &Self) -> Self {
        let most = |a: [usize; 5], b: [usize; 5]| std::array::from_fn(|table| a[table].max(b[table]));
        Self {
            calls: self.calls.max(other.calls),
            read: most(self.read, other.read),
            written: most(self.written, other.written),
        }
    }

    /// Whether this costs hardly more than `other`: a tree becomes a little deeper as it grows.
    fn is_like(&self, other: &Self) -> bool {
        let close = |now: usize, then: usize| now <= then + then / 4 + 20;
        let all_close = |now: &[usize; 5], then: &[usize; 5]| {
            let mut pairs = now.iter().zip(then);
            pairs.all(|(now, then)| close(*now, *then))
        };
        close(self.calls, other.calls)
            && all_close(&self.read, &other.read)
            && all_close(&self.written, &other.written)
    }
}

impl Flood {
    async fn new() -> Self {
        let (server, peer) = (Server::new().await, Peer::new(7));
        let room = server.public_room().await;
        let join = peer.join(&server, &room).await;
        let auth = auth_of(&server, &room, &join).await;
        settle().await;
        server.store.take();
        Self {
            server,
            peer,
            room,
            join,
            auth,
            pending: Vec::new(),
            costs: Vec::new(),
        }
    }

    /// Sends an event, with others.
    async fn push(&mut self, pdu: &Pdu) {
        self.pending.push(pdu.clone());
        if self.pending.len() == TOGETHER {
            self.send().await;
        }
    }

    async fn send(&mut self) {
        let values: Vec<_> = self.pending.drain(..).map(|pdu| value(&pdu)).collect();
        let txn = format!("flood {}", self.costs.len());
        let answer = self.peer.send(&self.server, &txn, &values).await;
        let verdicts = answer["pdus"].as_object().unwrap();
        assert!(
            verdicts.len() == values.len() && verdicts.values().all(|verdict| *verdict == json!({})),
            "{answer}"
        );
        settle().await;
        self.costs.push(Cost::of(&self.server.store.take()));
        assert!(extremities(&self.server, &self.room).await.len() <= MOST);
    }

    /// Checks that nothing cost more than what came early did, and that the room lives.
    async fn end(self) {
        let (early, late) = self.costs.split_at(EARLY);
        assert!(!late.is_empty(), "too small a flood");
        let most = early.iter().fold(early[0], Cost::most);
        for (number, cost) in late.iter().enumerate() {
            let number = EARLY + number;
            assert!(
                cost.is_like(&most),
                "transaction {number}: {cost:?}, not {most:?}"
            );
        }
        let alice = self.server.alice();
        let said = self.server.say(&alice, &self.room, "1", "enough").await.unwrap();
        assert_eq!(extremities(&self.server, &self.room).await, [said]);
    }
}

#[tokio::test]
async fn any_number_of_extremities_costs_the_same_for_each() {
    let mut flood = Flood::new().await;
    for number in 0..size() {
        let auth = flood.auth.clone();
        let pdu = flood
            .peer
            .message(&flood.room, &flood.join, auth, &number.to_string());
        flood.push(&pdu).await;
    }
    flood.end().await;
}

/// Every event replaces the membership before it and rests on it: an auth chain as deep as it is long.
#[tokio::test]
async fn an_auth_chain_of_any_depth_costs_the_same_for_each() {
    let mut flood = Flood::new().await;
    let rules = flood
        .server
        .state(&flood.room, "m.room.join_rules", "")
        .await
        .unwrap();
    let levels = flood.auth[0].clone();
    let mut last = flood.join.clone();
    for number in 0..size() {
        let auth = vec![levels.clone(), last.event_id().to_owned(), rules.event_id.clone()];
        last = renamed(&flood, &last, auth, number);
        flood.push(&last).await;
    }
    // A fork from the foot of the chain: what one side rests on and the other does not is all of the chain, and the
    // resolution has to look at each of its events, once (and those in the cache are not read).
    let auth = vec![levels, flood.join.event_id().to_owned(), rules.event_id.clone()];
    let fork = renamed(&flood, &flood.join.clone(), auth, usize::MAX);
    flood.server.store.take();
    assert_eq!(flood.peer.tell(&flood.server, &fork).await, json!({}));
    settle().await;
    let cost = Cost::of(&flood.server.store.take());
    assert!(
        cost.calls <= size() + 40 && cost.read[0] <= size() + 40,
        "{cost:?}"
    );
    flood.end().await;
}

fn renamed(flood: &Flood, prev: &Pdu, auth: Vec<OwnedEventId>, number: usize) -> Pdu {
    let user = flood.peer.user();
    let content = json!({ "membership": "join", "displayname": number.to_string() });
    let kind = ("m.room.member", Some(user.as_str()));
    flood.peer.event(&flood.room, prev, auth, kind, content)
}

/// Every event comes after as many others as it can name, and as many come after each.
#[tokio::test]
async fn any_number_of_references_costs_the_same_for_each() {
    let mut flood = Flood::new().await;
    let mut layer = vec![flood.join.clone()];
    for number in 0..size() / MOST {
        let mut next = Vec::new();
        for place in 0..MOST {
            let body = format!("{number}.{place}");
            let auth = flood.auth.clone();
            let content = json!({ "body": body, "msgtype": "m.text" });
            let kind = ("m.room.message", None);
            let pdu = flood.peer.event_after(&flood.room, &layer, auth, kind, content);
            flood.push(&pdu).await;
            next.push(pdu);
        }
        layer = next;
    }
    flood.end().await;
}

/// Every event changes the state after the same event: as many states as events, of which few count.
#[tokio::test]
async fn any_number_of_states_costs_the_same_for_each() {
    let mut flood = Flood::new().await;
    let rules = flood
        .server
        .state(&flood.room, "m.room.join_rules", "")
        .await
        .unwrap();
    let mut auth = flood.auth.clone();
    auth.push(rules.event_id.clone());
    for number in 0..size() {
        let pdu = renamed(&flood, &flood.join.clone(), auth.clone(), number);
        flood.push(&pdu).await;
    }
    flood.end().await;
}
