//! The whole native path: two homeservers and a relay, as processes, and clients over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{Client, Node, call, command};

/// Two users of two homeservers that know only a relay in common: a room, messages both ways, history, a
/// restart of either side without warning, and mail that waited meanwhile.
#[test]
fn two_homeservers_share_a_room_through_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let data = |name: &str| folder.path().join(name);
    let relay = Node::serve(&data("relay"), &[]);
    let address = relay.relay();
    let first = Node::homeserver(&data("first"), &["--relay", &address]);
    let second = Node::homeserver(&data("second"), &["--relay", &address]);
    let mut ada = Client::register(&first, "ada");
    let mut grace = Client::register(&second, "grace");

    let room = ada.create_room("Relayed");
    ada.send(&room, "before anybody came");
    grace.join(&room, first.server_name());
    ada.send(&room, "hello, Grace");
    grace.wait_for(&room, &["hello, Grace"]);
    grace.send(&room, "hello, Ada");
    ada.wait_for(&room, &["hello, Ada"]);
    let both = ["before anybody came", "hello, Grace", "hello, Ada"];
    assert_eq!(grace.history(&room), both);
    assert_eq!(ada.history(&room), both);
    for client in [&ada, &grace] {
        let mut members = client.members(&room);
        members.sort();
        let mut expected = [ada.user_id.clone(), grace.user_id.clone()];
        expected.sort();
        assert_eq!(members, expected);
    }

    second.kill();
    ada.send(&room, "while you were away");
    let second = Node::homeserver(&data("second"), &["--relay", &address]);
    grace.at(&second);
    grace.wait_for(&room, &["while you were away"]);
    assert_eq!(
        grace.history(&room),
        [&both[..], &["while you were away"]].concat()
    );

    first.kill();
    grace.send(&room, "and now you");
    let first = Node::homeserver(&data("first"), &["--relay", &address]);
    ada.at(&first);
    ada.wait_for(&room, &["and now you"]);
    ada.send(&room, "good night");
    grace.wait_for(&room, &["good night"]);
    let all = [&both[..], &["while you were away", "and now you", "good night"]].concat();
    assert_eq!(ada.history(&room), all);
    assert_eq!(grace.history(&room), all);
}

/// A relay that comes back at the same address is used again.
#[test]
fn a_restarted_relay_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = |name: &str| folder.path().join(name);
    let relay = Node::serve(&data("relay"), &[]);
    let address = relay.relay();
    let listen = relay.url.strip_prefix("http://").unwrap().to_owned();
    let first = Node::homeserver(&data("first"), &["--relay", &address]);
    let second = Node::homeserver(&data("second"), &["--relay", &address]);
    let ada = Client::register(&first, "ada");
    let grace = Client::register(&second, "grace");
    let room = ada.create_room("Bad line");
    grace.join(&room, first.server_name());

    assert!(relay.terminate());
    ada.send(&room, "can you hear me?");
    let relay_data = data("relay");
    let arguments = [
        "serve",
        "--listen",
        &listen,
        "--data",
        relay_data.to_str().unwrap(),
    ];
    let relay = Node::start(&arguments);
    assert_eq!(relay.relay(), address);
    grace.wait_for(&room, &["can you hear me?"]);
    grace.send(&room, "yes");
    ada.wait_for(&room, &["yes"]);
}

/// Without a relay a homeserver may have any name, and serves its own users.
#[test]
fn a_homeserver_with_a_name_of_its_own_serves_its_users() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(
        folder.path(),
        &["--server-name", "hearth.test", "--no-rate-limits"],
    );
    assert_eq!(node.server_name(), "hearth.test");
    let (ada, grace) = (Client::register(&node, "ada"), Client::register(&node, "grace"));
    assert_eq!(ada.user_id, "@ada:hearth.test");
    let room = ada.create_room("At home");
    grace.join(&room, "hearth.test");
    for number in 0..30 {
        ada.send(&room, &format!("message {number}"));
    }
    grace.wait_for(&room, &["message 29"]);
    assert!(node.terminate());
}

#[test]
fn federation_under_another_name_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Node::serve(&folder.path().join("relay"), &[]).relay();
    let output = command(&[
        "homeserver",
        "--listen",
        "127.0.0.1:0",
        "--server-name",
        "hearth.test",
        "--relay",
        &relay,
    ])
    .output()
    .unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--relay needs the server name that is the key")
    );
}

#[test]
fn a_closed_homeserver_registers_nobody() {
    let node = Node::start(&["homeserver", "--listen", "127.0.0.1:0"]);
    let body = serde_json::json!({"username": "eve", "password": "p", "auth": {"type": "m.login.dummy"}});
    let url = format!("{}/_matrix/client/v3/register", node.url);
    let (status, answer) = call("POST", &url, None, Some(&body));
    assert_eq!((status, &answer["errcode"]), (403, &"M_FORBIDDEN".into()));
}
