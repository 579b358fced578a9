//! WebSockets that do not speak libp2p: the relay closes them and serves everybody else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::TcpStream;

use support::{Client, Node, call};
use tungstenite::{Message, WebSocket};

fn open(relay: &Node) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(relay.url.strip_prefix("http://").unwrap()).unwrap();
    let url = relay.url.replace("http://", "ws://");
    tungstenite::client(url, stream).unwrap().0
}

/// Sends `message` and reads until the relay ends the connection.
fn is_closed_after(relay: &Node, message: Message) {
    let mut socket = open(relay);
    // The relay may close while it is still being sent.
    let _ = socket.send(message);
    let answers = std::iter::from_fn(|| socket.read().ok()).filter(|answer| !answer.is_close());
    assert!(answers.count() <= 2);
}

#[test]
fn sockets_that_do_not_speak_libp2p_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Node::serve(&folder.path().join("relay"), &[]);
    is_closed_after(&relay, Message::text("hello"));
    is_closed_after(&relay, Message::binary(vec![0xff; 4096]));
    is_closed_after(
        &relay,
        Message::binary(b"\x13/multistream/1.0.0\n\x04/no\n".to_vec()),
    );
    is_closed_after(&relay, Message::binary(vec![0; 2 << 20]));
    let idle: Vec<_> = (0..100).map(|_| open(&relay)).collect();

    let address = relay.relay();
    let first = Node::homeserver(&folder.path().join("first"), &["--relay", &address]);
    let second = Node::homeserver(&folder.path().join("second"), &["--relay", &address]);
    let (ada, grace) = (
        Client::register(&first, "ada"),
        Client::register(&second, "grace"),
    );
    let room = ada.create_room("Undisturbed");
    grace.join(&room, first.server_name());
    ada.send(&room, "hello");
    grace.wait_for(&room, &["hello"]);
    drop(idle);
    assert_eq!(call("GET", &format!("{}/healthz", relay.url), None, None).0, 200);
}
