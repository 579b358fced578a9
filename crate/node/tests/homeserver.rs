//! What `hearth-node homeserver` makes of its command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use support::{Client, Node, command};
use ureq::Agent;

/// What the process says that does not start with `arguments`.
fn refused(arguments: &[&str]) -> String {
    let fixed = ["homeserver", "--listen", "127.0.0.1:0"];
    let mut command = command(&[&fixed, arguments].concat());
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    if !said.is_empty() {
        process.kill().unwrap();
        panic!("it starts: {said}");
    }
    let output = process.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

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

    let said = refused(&["--data", path]);
    assert!(said.contains("give --server-name here.example"), "{said}");
    let said = refused(&["--data", path, "--server-name", "other.example"]);
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
    let said = refused(&["--data", path, "--server-name", "here.example"]);
    assert!(said.contains("leave out --server-name"), "{said}");
    assert_eq!(Node::homeserver(folder.path(), &[]).server_name(), name);
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
