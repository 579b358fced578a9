//! Networks that meet at relays on 127.0.0.1: requests, failures and recoveries.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Node, Relay, SteppingClock, server_name, soon};
use futures::future::{join_all, select};
use hearth_homeserver::{AnswerLimit, Federation as _, FederationError};
use hearth_p2p::{Config, Network};
use http::{Request, Response};

async fn send(from: &Network, to: &str, body: Vec<u8>) -> Result<Response<Bytes>, FederationError> {
    let request = Request::put("/_matrix/federation/v1/send/1?a=b")
        .header("x-test", "yes")
        .body(body.into());
    from.send(to, request.unwrap()).await
}

async fn assert_echo(from: &Node, to: &Node, body: Vec<u8>) {
    let response = send(&from.network, &to.name, body.clone()).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(
        response.headers()["x-from"],
        from.name.as_str(),
        "the channel proves who asks"
    );
    assert_eq!(
        response.headers()["x-line"],
        "PUT /_matrix/federation/v1/send/1?a=b"
    );
    assert_eq!(response.body(), &body);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_both_ways_with_bodies_of_any_size() {
    let relay = Relay::start().await;
    let mut a = Node::start(1, &[&relay], &[]);
    let mut b = Node::start(2, &[&relay], &[]);
    a.reserved(1).await;
    b.reserved(1).await;
    // A stranger's request is smaller.
    a.network.met(&b.name);
    b.network.met(&a.name);
    for size in [0, 1, 65_535, 65_536, 65_537, 5 << 20] {
        assert_echo(&a, &b, vec![7; size]).await;
        assert_echo(&b, &a, vec![8; size]).await;
    }
    assert_eq!(a.online.recv().await.unwrap(), b.name);
    assert_eq!(b.online.recv().await.unwrap(), a.name);
    assert!(a.online.is_empty(), "one connection serves all requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() {
    let relay = Relay::start().await;
    let a = Node::start(1, &[&relay], &[]);
    let b = Node::start(2, &[&relay], &[]);
    a.reserved(1).await;
    b.reserved(1).await;
    let all = (0..200).map(|_| assert_echo(&a, &b, vec![1; 20_000]));
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_away_costs_nothing_until_it_comes() {
    let relay = Relay::start().await;
    let mut a = Node::start(1, &[&relay], &[]);
    a.reserved(1).await;
    let away = server_name(2);
    assert_eq!(
        send(&a.network, &away, Vec::new()).await.unwrap_err(),
        FederationError::Unreachable
    );
    // The failure is remembered: no dial is needed to fail again, so this is one step of the driver.
    assert_eq!(
        send(&a.network, &away, Vec::new()).await.unwrap_err(),
        FederationError::Unreachable
    );
    let mut b = Node::start(2, &[&relay], &[&a]);
    assert_eq!(
        b.online.recv().await.unwrap(),
        a.name,
        "it looks for those it shares rooms with"
    );
    assert_eq!(a.online.recv().await.unwrap(), b.name);
    assert_echo(&a, &b, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_key_is_unreachable() {
    let a = Node::start(1, &[], &[]);
    for name in ["example.org", "", "a:8448"] {
        assert_eq!(
            send(&a.network, name, Vec::new()).await.unwrap_err(),
            FederationError::Unreachable
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_first_relay() {
    let relay = Relay::start().await;
    let b = Node::start(2, &[&relay], &[]);
    b.reserved(1).await;
    let a = Node::start(1, &[&relay], &[]);
    assert_echo(&a, &b, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_comes_back_when_the_relay_does() {
    let mut relay = Relay::start().await;
    let mut a = Node::start(1, &[&relay], &[]);
    a.reserved(1).await;
    let mut b = Node::start(2, &[&relay], &[&a]);
    assert_eq!(a.online.recv().await.unwrap(), b.name);
    assert_eq!(b.online.recv().await.unwrap(), a.name);
    relay.stop().await;
    a.until("cut off", |status| {
        status
            .relays
            .iter()
            .all(|relay| !relay.connected && !relay.reserved)
    })
    .await;
    b.until("alone", |status| status.peers.iter().all(|peer| !peer.connected))
        .await;
    relay.restart().await;
    assert_eq!(a.online.recv().await.unwrap(), b.name);
    a.reserved(1).await;
    assert_echo(&a, &b, vec![1; 1000]).await;
    assert_echo(&b, &a, vec![1; 1000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_one_of_two_relays_is_not_noticed() {
    let mut first = Relay::start().await;
    let second = Relay::start().await;
    let a = Node::start(1, &[&first, &second], &[]);
    let b = Node::start(2, &[&first, &second], &[]);
    a.reserved(2).await;
    b.reserved(2).await;
    assert_echo(&a, &b, vec![1]).await;
    first.stop().await;
    for _ in 0..20 {
        assert_echo(&a, &b, vec![2; 1000]).await;
        assert_echo(&b, &a, vec![3; 1000]).await;
    }
    a.reserved(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_peer_at_another_relay() {
    let (ours, theirs) = (Relay::start().await, Relay::start().await);
    let a = Node::start(1, &[&ours], &[]);
    let b = Node::start(2, &[&theirs], &[]);
    a.reserved(1).await;
    b.reserved(1).await;
    assert_eq!(
        send(&a.network, &b.name, Vec::new()).await.unwrap_err(),
        FederationError::Unreachable
    );
    assert_eq!(
        a.network
            .add_route(&b.name, vec!["nonsense".into(), theirs.address()]),
        1
    );
    assert_echo(&a, &b, vec![1]).await;
    assert_echo(&b, &a, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_can_be_added_and_bad_ones_are_left_out() {
    let relay = Relay::start().await;
    let a = Node::start(1, &[], &[]);
    let bad = ["/ip4/127.0.0.1/tcp/1", "nonsense", ""].map(String::from);
    assert_eq!(a.network.add_relays(bad.into()), 0);
    assert_eq!(a.network.add_relays(vec![relay.address(), relay.address()]), 2);
    a.reserved(1).await;
    assert_eq!(a.network.status().relays.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_on_either_side() {
    let relay = Relay::start().await;
    let a = Node::start(1, &[&relay], &[]);
    let small = Config {
        max_body: 100_000,
        max_request: 100_000,
        ..Config::default()
    };
    let b = Node::start_with(2, small, &[&relay], Vec::new());
    a.reserved(1).await;
    b.reserved(1).await;
    let response = send(&a.network, &b.name, vec![0; 5 << 20]).await.unwrap();
    assert_eq!(response.status(), 413);
    assert!(response.body().starts_with(br#"{"errcode":"M_TOO_LARGE""#));
    let answer = send(&b.network, &a.name, vec![0; 200_000]).await.unwrap_err();
    assert!(matches!(answer, FederationError::Protocol(_)), "{answer:?}");
    assert_echo(&a, &b, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_whoever_asks_expects_is_refused() {
    let relay = Relay::start().await;
    let a = Node::start(1, &[&relay], &[]);
    let b = Node::start(2, &[&relay], &[]);
    a.reserved(1).await;
    b.reserved(1).await;
    let ask = async |limit: usize| {
        let mut request = Request::put("/").body(vec![0; 100_000].into()).unwrap();
        request.extensions_mut().insert(AnswerLimit(limit));
        a.network.send(&b.name, request).await
    };
    assert_eq!(ask(100_000).await.unwrap().body().len(), 100_000);
    let refused = ask(99_999).await.unwrap_err();
    assert!(matches!(refused, FederationError::Protocol(_)), "{refused:?}");
}

/// A request with a body that comes back as the answer.
fn echo(path: &str, size: usize) -> Request<Bytes> {
    Request::put(path).body(vec![0; size].into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_server_that_do_not_end_leave_room_for_those_of_others() {
    let relay = Relay::start().await;
    let config = Config {
        max_body: 1 << 20,
        ..Config::default()
    };
    let a = Node::start_with(1, config, &[&relay], Vec::new());
    let (slow, other) = (Node::start(2, &[&relay], &[]), Node::start(3, &[&relay], &[]));
    a.reserved(1).await;
    slow.reserved(1).await;
    other.reserved(1).await;
    slow.network.met(&a.name);
    let endless = || {
        let (network, to) = (a.network.clone(), slow.name.clone());
        tokio::spawn(async move { network.send(&to, echo("/endless", 1 << 20)).await })
    };
    let (refused, _held) = soon(select(endless(), endless())).await.factor_first();
    let refused = refused.unwrap().unwrap_err();
    assert!(matches!(refused, FederationError::Protocol(_)), "{refused:?}");
    for size in [0, 100_000, 700_000] {
        let answer = a.network.send(&other.name, echo("/", size)).await.unwrap();
        assert_eq!(answer.body().len(), size);
    }
    let small = a.network.send(&slow.name, echo("/", 200_000)).await.unwrap();
    assert_eq!(small.body().len(), 200_000, "small answers always come through");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_is_noticed() {
    let relay = Relay::start().await;
    let a = Node::start(1, &[&relay], &[]);
    let b = Node::start(2, &[&relay], &[]);
    a.reserved(1).await;
    b.reserved(1).await;
    assert_echo(&a, &b, vec![1]).await;
    b.tasks.stop();
    a.until("alone", |status| status.peers.iter().all(|peer| !peer.connected))
        .await;
    assert_eq!(
        send(&a.network, &b.name, Vec::new()).await.unwrap_err(),
        FederationError::Unreachable
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_our_relay_a_peer_is_found_through_its_own() {
    let (mut ours, theirs) = (Relay::start().await, Relay::start().await);
    let a = Node::start(1, &[&ours], &[]);
    let b = Node::start(2, &[&ours, &theirs], &[]);
    a.reserved(1).await;
    b.reserved(2).await;
    assert_echo(&a, &b, vec![1]).await;
    ours.stop().await;
    a.network.add_route(&b.name, vec![theirs.address()]);
    assert_echo(&a, &b, vec![2]).await;
}

/// Two relays, a node at the first, and two at the second.
async fn one_and_two() -> ([Relay; 2], [Node; 3]) {
    let (ours, theirs) = (Relay::start().await, Relay::start().await);
    let a = Node::start(1, &[&ours], &[]);
    let (b, c) = (Node::start(2, &[&theirs], &[]), Node::start(3, &[&theirs], &[]));
    for node in [&a, &b, &c] {
        node.reserved(1).await;
    }
    ([ours, theirs], [a, b, c])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_somebody_else_that_becomes_ours_leads_to_others_too() {
    let ([_ours, theirs], [a, b, c]) = one_and_two().await;
    a.network.add_route(&b.name, vec![theirs.address()]);
    assert_echo(&a, &b, vec![1]).await;
    a.network.add_relays(vec![theirs.address()]);
    a.reserved(2).await;
    a.until("connected", |status| {
        status.relays.iter().all(|relay| relay.connected)
    })
    .await;
    assert_echo(&a, &c, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_at_a_relay_that_is_not_ours_are_found_though_only_one_dial_can_lead_there() {
    let ([_ours, theirs], [a, b, c]) = one_and_two().await;
    for node in [&b, &c] {
        a.network.add_route(&node.name, vec![theirs.address()]);
    }
    let both = [&b, &c].map(|node| send(&a.network, &node.name, Vec::new()));
    let found = join_all(both).await;
    assert!(found.iter().any(Result::is_ok), "{found:?}");
    assert_echo(&a, &b, vec![1]).await;
    assert_echo(&a, &c, vec![1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_delays_nothing() {
    let mut relay = Relay::start().await;
    let clock = Arc::new(SteppingClock::default());
    let a = Node::start_at(1, Config::default(), clock.clone(), &[&relay], Vec::new());
    a.reserved(1).await;
    relay.stop().await;
    a.until("cut off", |status| {
        status.relays.iter().all(|relay| !relay.reserved)
    })
    .await;
    clock.set_back(Duration::from_secs(86_400));
    relay.restart().await;
    a.reserved(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_server_is_is_told_at_once_then_now_and_then_and_never_of_strangers() {
    let (relay, other) = (Relay::start().await, Relay::start().await);
    let friends = [server_name(3), server_name(4)].into();
    let mut a = Node::start_with(1, Config::default(), &[&relay], friends);
    let stranger = Node::start(2, &[&relay], &[]);
    a.reserved(1).await;
    stranger.reserved(1).await;
    assert_echo(&stranger, &a, vec![1]).await;
    let friend = Node::start(3, &[&relay], &[]);
    friend.reserved(1).await;
    assert_echo(&friend, &a, vec![1]).await;
    assert_eq!(a.learned.recv().await.unwrap(), (friend.name.clone(), 1));
    friend.network.add_relays(vec![other.address()]);
    friend.reserved(2).await;
    assert_echo(&friend, &a, vec![1]).await;
    let second = Node::start(4, &[&relay], &[]);
    second.reserved(1).await;
    assert_echo(&second, &a, vec![1]).await;
    assert_eq!(a.learned.recv().await.unwrap(), (second.name.clone(), 1));
    // Those of interest are asked for anew.
    a.network.wake();
    assert_eq!(a.learned.recv().await.unwrap(), (friend.name.clone(), 2));
    a.network.met(&stranger.name);
    assert_eq!(a.learned.recv().await.unwrap(), (stranger.name.clone(), 1));
}
