//! Peers that break the protocol: their streams are reset, the connection and everyone else go on.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::raw_peer::RawPeer;
use common::{Node, Relay, server_name};
use futures::AsyncWriteExt as _;
use hearth_p2p::Config;

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

fn framed(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [&length(head.len()), head, rest].concat()
}

/// `["GET", "/a", []]` in CBOR.
const HEAD: &[u8] = b"\x83\x63GET\x62/a\x80";

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_are_refused_and_the_connection_survives() {
    let relay = Relay::start().await;
    let victim = Node::start(1, &[&relay], &[]);
    victim.reserved(1).await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let malformed: [Vec<u8>; 10] = [
        Vec::new(),
        vec![0; 3],
        vec![0xff; 100_000],
        framed(b"garbage", &[]),
        framed(&[0x9f; 65_536], &[]),
        length((64 << 10) + 1).to_vec(),
        framed(&HEAD[..5], &[]),
        framed(b"\x83\x01\x62/a\x80", &length(0)),
        framed(HEAD, &[&length(100)[..], &[1; 50]].concat()),
        framed(HEAD, &length((64 << 10) + 1)),
    ];
    for bytes in malformed {
        let answer = hostile.answer(&bytes).await;
        assert!(
            answer.is_empty(),
            "{:?} … got {answer:?}",
            &bytes[..bytes.len().min(20)]
        );
    }
    let answer = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(
        answer.windows(6).any(|bytes| bytes == b"GET /a"),
        "the same connection still serves: {answer:?}"
    );
    let peers = victim.network.status().peers;
    assert_eq!(peers.iter().filter(|peer| peer.connected).count(), 1, "{peers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_are_bounded_and_do_not_stop_others() {
    let relay = Relay::start().await;
    let victim = Node::start(1, &[&relay], &[]);
    let other = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let mut held = Vec::new();
    // As many as are served of one peer at once (Config::max_inbound_per_peer).
    for _ in 0..32 {
        let mut stream = hostile.stream().await;
        stream.write_all(&framed(HEAD, &[])).await.unwrap();
        held.push(stream);
    }
    let refused = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(
        refused.windows(16).any(|bytes| bytes == b"M_LIMIT_EXCEEDED"),
        "{refused:?}"
    );
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = hearth_homeserver::Federation::send(&other.network, &victim.name, request)
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_places_to_servers_that_rooms_are_shared_with() {
    let relay = Relay::start().await;
    let config = Config {
        max_inbound: 4,
        ..Config::default()
    };
    let victim = Node::start_with(1, config, &[&relay], vec![server_name(2)]);
    let friend = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    victim
        .until("connected with the friend", |status| {
            status.peers.iter().any(|peer| peer.connected)
        })
        .await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = hostile.stream().await;
        stream.write_all(&framed(HEAD, &[])).await.unwrap();
        held.push(stream);
    }
    let refused = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(
        refused.windows(9).any(|bytes| bytes == b"M_UNKNOWN"),
        "{refused:?}"
    );
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = hearth_homeserver::Federation::send(&friend.network, &victim.name, request)
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_stream_is_gone_is_served_no_more() {
    let relay = Relay::start().await;
    let config = Config {
        max_inbound_per_peer: 1,
        ..Config::default()
    };
    let victim = Node::start_with(1, config, &[&relay], Vec::new());
    victim.reserved(1).await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let never = framed(b"\x83\x63GET\x66/never\x80", &length(0));
    let is_refused = async |hostile: &mut RawPeer| {
        let answer = hostile.answer(&framed(HEAD, &length(0))).await;
        answer.windows(16).any(|bytes| bytes == b"M_LIMIT_EXCEEDED")
    };
    let stream = loop {
        let mut stream = hostile.stream().await;
        stream.write_all(&never).await.unwrap();
        if is_refused(&mut hostile).await {
            break stream;
        }
    };
    drop(stream);
    while is_refused(&mut hostile).await {}
}
