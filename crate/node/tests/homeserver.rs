//! What `hearth-node homeserver` makes of its command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{Client, Node, command, refused};
use ureq::Agent;

#[test]
fn a_database_keeps_its_server_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let named = ["--server-name", "here.example"];
    // As long as there are no accounts, any name will do.
    assert!(Node::homeserver(folder.path(), &["--server-name", "other.example"]).terminate());
    let node = Node::homeserver(folder.path(), &named);
    Client::register(&node, "ann");
    assert!(node.terminate());

    let said = refused(&["homeserver", "--data", path]);
    assert!(said.contains("give --server-name here.example"), "{said}");
    let said = refused(&["homeserver", "--data", path, "--server-name", "other.example"]);
    assert!(said.contains("give --server-name here.example"), "{said}");
    assert_eq!(
        Node::homeserver(folder.path(), &named).server_name(),
        "here.example"
    );
}

#[test]
fn a_database_named_by_its_key_takes_no_other_name() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(folder.path(), &[]);
    let name = node.server_name().to_owned();
    Client::register(&node, "ann");
    assert!(node.terminate());

    let path = folder.path().to_str().unwrap();
    let said = refused(&["homeserver", "--data", path, "--server-name", "here.example"]);
    assert!(said.contains("leave out --server-name"), "{said}");
    assert_eq!(Node::homeserver(folder.path(), &[]).server_name(), name);
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let said = refused(&["homeserver", "--server-name", "not a name"]);
    assert!(said.contains("'not a name' for '--server-name"), "{said}");
    let said = refused(&["homeserver", "--default-room-version", "99"]);
    assert!(said.contains("room version 99 is not supported"), "{said}");
    let said = refused(&["homeserver", "--public-url", "hearth.example"]);
    assert!(said.contains("not of the form https://HOST"), "{said}");
}

#[test]
fn what_is_not_written_to_a_terminal_has_no_colours() {
    let mut homeserver = command(&["homeserver", "--listen", "192.0.2.1:1"]);
    let output = homeserver.env_remove("NO_COLOR").output().unwrap();
    let logged = String::from_utf8(output.stderr).unwrap();
    assert!(logged.contains("WARN") && !logged.contains('\u{1b}'), "{logged}");
}

/// The URL that a client is told which asks `node` by the name `host`.
fn told_url(node: &Node, host: Option<&str>) -> String {
    let agent: Agent = Agent::config_builder().build().into();
    let mut request = agent.get(format!("{}/.well-known/matrix/client", node.url));
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let answer: serde_json::Value = request.call().unwrap().body_mut().read_json().unwrap();
    answer["m.homeserver"]["base_url"].as_str().unwrap().to_owned()
}

#[test]
fn clients_are_told_by_which_url_they_reach_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(folder.path(), &[]);
    assert_eq!(told_url(&node, None), node.url);
    assert_eq!(
        told_url(&node, Some("hearth.example:8009")),
        "http://hearth.example:8009"
    );
    drop(node);
    let node = Node::homeserver(folder.path(), &["--public-url", "https://hearth.example/"]);
    assert_eq!(told_url(&node, Some("localhost")), "https://hearth.example");
}
