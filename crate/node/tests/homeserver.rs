//! What `hearth-node homeserver` makes of its command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::Node;
use ureq::Agent;

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
