//! Synapse's judgement of random rooms is ours: event ids, hashes, signatures, every acceptance and refusal, and the
//! resolved state.
//!
//! Synapse runs as a process of its own, by the Python that `HEARTH_SYNAPSE_PYTHON` names; `cargo xtask test synapse`
//! installs one. Without it the test says that it was skipped.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use hearth_rooms::{Pdu, RoomVersion, StateMap, builder::sign_template, resolution::resolve_maps};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, json};

use crate::forks::{Tried, World, any_steps};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/synapse/judge.py");
const VERSIONS: [&str; 6] = ["1", "2", "6", "10", "11", "12"];
/// Random rooms of each version.
const ROOMS: usize = 40;
/// Steps that a room takes at most.
const STEPS: usize = 40;

#[test]
#[allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "whoever runs it sees whether it was skipped, and what was compared"
)]
fn synapse_comes_to_the_same_judgement() {
    let Ok(python) = std::env::var("HEARTH_SYNAPSE_PYTHON") else {
        eprintln!(
            "SKIPPED: HEARTH_SYNAPSE_PYTHON names no Python with matrix-synapse; `cargo xtask test synapse` does"
        );
        return;
    };
    let worlds = worlds();
    let cases: Vec<Value> = worlds.iter().map(case).collect();
    let answers = ask(&python, &json!(cases));
    assert_eq!(answers.len(), worlds.len());
    let mut seen = Seen::default();
    for (world, answer) in worlds.iter().zip(&answers) {
        compare(world, answer, &mut seen);
    }
    println!("{seen:?}");
    // A comparison of rooms in which nothing is refused or in conflict would show nothing.
    assert!(
        seen.refused > 0 && seen.accepted > 0 && seen.conflicts > 0,
        "{seen:?}"
    );
}

/// What was compared.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "all of it is printed")]
struct Seen {
    rooms: usize,
    accepted: usize,
    refused: usize,
    /// Rooms whose heads disagree.
    conflicts: usize,
}

/// The same rooms in every run.
fn worlds() -> Vec<World> {
    let mut runner = TestRunner::deterministic();
    let mut worlds = Vec::new();
    for version in RoomVersion::ALL
        .iter()
        .filter(|version| VERSIONS.contains(&version.as_str()))
    {
        for _ in 0..ROOMS {
            let steps = any_steps(STEPS).new_tree(&mut runner).unwrap().current();
            worlds.push(World::grown(*version, &steps));
        }
    }
    worlds
}

fn case(world: &World) -> Value {
    let room_id = world.tried.first().unwrap().pdu.room_id().to_string();
    json!({
        "version": world.version.as_str(),
        "room_id": room_id,
        "events": world.tried.iter().map(|tried| recorded(world, tried)).collect::<Vec<_>>(),
        "states": world.states().iter().map(listed).collect::<Vec<_>>(),
    })
}

fn recorded(world: &World, tried: &Tried) -> Value {
    json!({
        "pdu": tried.pdu.raw_json(),
        "state": listed(&tried.state),
        "kept": world.events.contains_key(tried.pdu.event_id()),
        "signed": signed(&tried.pdu).raw_json(),
        "server": tried.pdu.sender().server_name(),
        "key_id": "ed25519:test",
        "key": hex::encode(key_pair().public_key()),
    })
}

fn listed(state: &StateMap) -> Vec<[String; 3]> {
    let entry = |((kind, key), id): (&(_, String), &ruma_common::OwnedEventId)| {
        [ToString::to_string(kind), key.clone(), id.to_string()]
    };
    let mut entries: Vec<_> = state.iter().map(entry).collect();
    entries.sort();
    entries
}

fn key_pair() -> Ed25519KeyPair {
    // The beginning of every PKCS #8 document of an Ed25519 seed (RFC 8410).
    let header = hex::decode("302e020100300506032b657004220420").unwrap();
    Ed25519KeyPair::from_der(&[header, vec![7; 32]].concat(), "test".into()).unwrap()
}

/// The event with hashes, signed by its sender's server.
fn signed(pdu: &Pdu) -> Pdu {
    let object: serde_json::Map<String, Value> = serde_json::from_str(pdu.raw_json().get()).unwrap();
    let server = pdu.sender().server_name();
    sign_template(pdu.version(), object, server.as_str(), &key_pair()).unwrap()
}

fn ask(python: &str, cases: &Value) -> Vec<Value> {
    let mut judge = Command::new(python)
        .arg(JUDGE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = judge.stdin.take().unwrap();
    let cases = cases.to_string();
    // Synapse reads everything before it answers.
    input.write_all(cases.as_bytes()).unwrap();
    drop(input);
    let output = judge.wait_with_output().unwrap();
    assert!(output.status.success(), "the judge failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn compare(world: &World, answer: &Value, seen: &mut Seen) {
    for (tried, judged) in world.tried.iter().zip(answer["events"].as_array().unwrap()) {
        let event = || format!("room version {}: {}", world.version, tried.pdu.raw_json());
        assert_eq!(judged["event_id"], tried.pdu.event_id().as_str(), "{}", event());
        assert_eq!(
            judged["signed_event_id"],
            signed(&tried.pdu).event_id().as_str(),
            "{}",
            event()
        );
        assert_eq!(
            (&judged["hash"], &judged["signature"]),
            (&json!(true), &json!(true)),
            "{}",
            event()
        );
        assert_eq!(judged["by_auth_events"], tried.by_auth_events, "{}", event());
        assert_eq!(judged["by_state"], tried.by_state, "{}", event());
        let accepted = tried.by_auth_events && tried.by_state;
        *(if accepted {
            &mut seen.accepted
        } else {
            &mut seen.refused
        }) += 1;
    }
    let states = world.states();
    let lookup = |id: &ruma_common::EventId| Some((world.events.get(id)?.clone(), None));
    let ours = resolve_maps(world.version, &states, lookup).unwrap();
    assert_eq!(
        answer["resolved"],
        json!(listed(&ours)),
        "room version {}",
        world.version
    );
    seen.rooms += 1;
    seen.conflicts += usize::from(states.iter().any(|state| Some(state) != states.first()));
}
