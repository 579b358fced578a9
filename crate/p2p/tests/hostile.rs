//! Peers that break the protocol: their streams are reset, the connection and everyone else go on.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::raw_peer::RawPeer;
use std::pin::pin;

use common::{Node, Relay, server_name, soon};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::select};
use hearth_homeserver::Federation as _;
use hearth_p2p::Config;
use libp2p::Stream;

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

fn framed(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [&length(head.len()), head, rest].concat()
}

/// The greatest chunk of a body, in bytes.
const MAX_CHUNK: usize = 64 << 10;

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
        says(&answer, b"GET /a"),
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
    // As many as are served of one stranger at once (a quarter of Config::max_inbound_per_peer).
    for _ in 0..8 {
        let mut stream = hostile.stream().await;
        stream.write_all(&framed(HEAD, &[])).await.unwrap();
        held.push(stream);
    }
    let refused = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(says(&refused, b"M_LIMIT_EXCEEDED"), "{refused:?}");
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = other.network.send(&victim.name, request).await.unwrap();
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
    assert!(says(&refused, b"M_UNKNOWN"), "{refused:?}");
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = friend.network.send(&victim.name, request).await.unwrap();
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
        says(&answer, b"M_LIMIT_EXCEEDED")
    };
    soon(async {
        let stream = loop {
            let mut stream = hostile.stream().await;
            stream.write_all(&never).await.unwrap();
            if is_refused(&mut hostile).await {
                break stream;
            }
        };
        drop(stream);
        while is_refused(&mut hostile).await {}
    })
    .await;
}

/// Whether `answer` has `text` in it.
fn says(answer: &[u8], text: &[u8]) -> bool {
    answer.windows(text.len()).any(|bytes| bytes == text)
}

/// A request whose body is `size` bytes so far, and is to go on.
fn unfinished(size: usize) -> Vec<u8> {
    let chunks = (0..size / MAX_CHUNK).flat_map(|_| [&length(MAX_CHUNK)[..], &[1; MAX_CHUNK]].concat());
    framed(HEAD, &chunks.collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stranger_leaves_places_and_bytes_to_others() {
    let relay = Relay::start().await;
    let config = Config {
        max_inbound: 16,
        max_inbound_per_peer: 8,
        max_buffered: 16 * 4 * MAX_CHUNK,
        ..Config::default()
    };
    let victim = Node::start_with(1, config, &[&relay], Vec::new());
    let other = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let mut held = Vec::new();
    // Of a stranger two requests are served at once.
    for size in [4 * MAX_CHUNK, 0] {
        let mut stream = hostile.stream().await;
        stream.write_all(&unfinished(size)).await.unwrap();
        held.push(stream);
    }
    let third = framed(HEAD, &length(0));
    soon(async { while !says(&hostile.answer(&third).await, b"M_LIMIT_EXCEEDED") {} }).await;
    drop(held.pop());
    // The four chunks are all it may have in memory.
    let more = unfinished(MAX_CHUNK);
    soon(async { while !says(&hostile.answer(&more).await, b"M_UNKNOWN") {} }).await;
    let request = http::Request::put("/b")
        .body(vec![1; 4 * MAX_CHUNK].into())
        .unwrap();
    let response = other.network.send(&victim.name, request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (201, 4 * MAX_CHUNK)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_been_met_is_no_stranger() {
    let relay = Relay::start().await;
    let config = Config {
        max_inbound_per_peer: 4,
        ..Config::default()
    };
    let victim = Node::start_with(1, config, &[&relay], Vec::new());
    let other = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    let never = http::Request::get("/never").body(bytes::Bytes::new()).unwrap();
    let never = Box::pin(other.network.send(&victim.name, never));
    let ask = async || {
        let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
        other.network.send(&victim.name, request).await.unwrap().status()
    };
    soon(select(
        never,
        pin!(async {
            while ask().await != 429 {}
            victim.network.met(&other.name);
            while ask().await == 429 {}
        }),
    ))
    .await;
}

/// A victim of whose memory a stranger has four chunks.
async fn small_victim(relay: &Relay) -> (Node, RawPeer) {
    let config = Config {
        max_buffered: 16 * 4 * MAX_CHUNK,
        ..Config::default()
    };
    let victim = Node::start_with(1, config, &[relay], Vec::new());
    victim.reserved(1).await;
    let hostile = RawPeer::start(&relay.address(), &victim.name).await;
    (victim, hostile)
}

/// Fills so many chunks until it is dropped, beside which so many more do not fit.
async fn hold(hostile: &mut RawPeer, chunks: usize, too_many: usize) -> Stream {
    let mut stream = hostile.stream().await;
    stream.write_all(&unfinished(chunks * MAX_CHUNK)).await.unwrap();
    let probe = unfinished(too_many * MAX_CHUNK);
    soon(async { while !says(&hostile.answer(&probe).await, b"M_UNKNOWN") {} }).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_piece_of_an_answer_is_sent_alone_and_refused_beside_others() {
    let relay = Relay::start().await;
    let (_victim, mut hostile) = small_victim(&relay).await;
    let large = framed(b"\x83\x63GET\x6c/pieces/4000\x80", &length(0));
    assert!(hostile.answer(&large).await.len() > 4000 << 10);
    let _held = hold(&mut hostile, 1, 4).await;
    let refused = hostile.answer(&large).await;
    assert!(says(&refused, b"M_UNKNOWN"), "{} bytes", refused.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_leaves_bytes_to_others_also_if_it_is_known() {
    let relay = Relay::start().await;
    let (victim, mut hostile) = small_victim(&relay).await;
    victim.network.met(&hostile.name);
    let _held = hold(&mut hostile, 16, 1).await;
    let other = Node::start(2, &[&relay], &[]);
    victim.network.met(&other.name);
    let request = http::Request::put("/b").body(vec![1; 16 * MAX_CHUNK].into());
    let response = other.network.send(&victim.name, request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_waits_for_room() {
    let relay = Relay::start().await;
    let (_victim, mut hostile) = small_victim(&relay).await;
    let held = hold(&mut hostile, 3, 2).await;
    let mut stream = hostile.stream().await;
    let pieces = framed(b"\x83\x63GET\x6e/pieces/64,128\x80", &length(0));
    stream.write_all(&pieces).await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    drop(held);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > 3 * MAX_CHUNK, "{} bytes", answer.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stranger_whose_circuits_come_to_nothing_leaves_others_a_way_in() {
    let relay = Relay::start().await;
    let victim = Node::start(1, &[&relay], &[]);
    let other = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    other.reserved(1).await;
    let mut hostile = RawPeer::start(&relay.address(), &victim.name).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(hostile.circuit(&relay.address()).await);
    }
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = other.network.send(&victim.name, request).await.unwrap();
    assert_eq!(response.status(), 201);
}
