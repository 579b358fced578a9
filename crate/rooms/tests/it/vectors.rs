//! Vectors of the Matrix specification, appendices "Canonical JSON" and "Cryptographic Test Vectors".

use hearth_rooms::{
    JsonObject, Pdu, RoomVersion, Verification,
    builder::sign_template,
    canonical_json::{Numbers, encode},
    signatures::{hash_and_sign, verify},
};
use ruma_common::serde::{Base64, base64::Standard};
use ruma_signatures::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// The versions whose redaction keeps `origin`, which the vectors have.
const WITH_ORIGIN: [RoomVersion; 10] = [
    RoomVersion::V1,
    RoomVersion::V2,
    RoomVersion::V3,
    RoomVersion::V4,
    RoomVersion::V5,
    RoomVersion::V6,
    RoomVersion::V7,
    RoomVersion::V8,
    RoomVersion::V9,
    RoomVersion::V10,
];

/// Key `ed25519:1` of the server `domain`.
fn key_pair() -> Ed25519KeyPair {
    let seed = Base64::<Standard>::parse("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let header = hex::decode("302e020100300506032b657004220420").unwrap();
    Ed25519KeyPair::from_der(&[header, seed.into_inner()].concat(), "1".into()).unwrap()
}

fn canonical(json: &str) -> Option<String> {
    encode(&serde_json::from_str(json).ok()?, Numbers::Strict).ok()
}

#[test]
fn canonical_json() {
    let pairs = [
        ("{}", "{}"),
        (r#"{"one": 1, "two": "Two"}"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{"b": "2", "a": "1"}"#, r#"{"a":"1","b":"2"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
               "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
               {"medium": "msisdn", "address": "123456789"}]}}}"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
        (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
        (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
        (r#"{"a": null}"#, r#"{"a":null}"#),
    ];
    for (input, expected) in pairs {
        assert_eq!(canonical(input).as_deref(), Some(expected));
    }
}

/// The tenth pair of the specification, `{"a": -0, "b": 1e10}`, is in a form that canonical JSON must not have.
/// Like Synapse and ruma we refuse it where canonical JSON is strict. Python reads `1e10` as a float.
#[test]
fn what_strict_canonical_json_forbids_is_refused() {
    for json in [
        r#"{"a": -0, "b": 1e10}"#,
        r#"{"a": 1.5}"#,
        r#"{"a": 9007199254740992}"#,
        r#"{"a": -9007199254740992}"#,
        r#"{"a": 1e400}"#,
    ] {
        assert_eq!(canonical(json), None, "{json}");
    }
    let lenient = encode(&serde_json::from_str(r#"{"b": 1e10}"#).unwrap(), Numbers::Lenient);
    assert_eq!(lenient.unwrap(), r#"{"b":10000000000.0}"#);
}

#[test]
fn signed_json() {
    let sign = |object: Value| {
        for numbers in [Numbers::Strict, Numbers::Lenient] {
            assert_eq!(encode(&object, numbers).unwrap(), object.to_string());
        }
        key_pair().sign(object.to_string().as_bytes()).base64()
    };
    assert_eq!(
        sign(json!({})),
        "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
    );
    assert_eq!(
        sign(json!({"one": 1, "two": "Two"})),
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"
    );
}

fn hashed_and_signed(version: RoomVersion, event: Value) -> (String, String) {
    let mut event = object(event);
    hash_and_sign(version, &mut event, "domain", &key_pair()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&event["hashes"]["sha256"]),
        text(&event["signatures"]["domain"]["ed25519:1"]),
    )
}

#[test]
fn signed_event_with_minimal_data() {
    let event = json!({
        "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1000000,
        "type": "X", "content": {}, "prev_events": [], "auth_events": [], "depth": 3,
        "signatures": {}, "hashes": {}, "unsigned": {"age_ts": 1000000},
    });
    for version in WITH_ORIGIN {
        let (hash, signature) = hashed_and_signed(version, event.clone());
        assert_eq!(hash, "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        assert_eq!(
            signature,
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
        );
    }
    let pdu = sign_template(RoomVersion::V6, object(event), "domain", &key_pair()).unwrap();
    let key = |_: &ruma_common::ServerName, _: &str| Some(key_pair().public_key());
    assert_eq!(verify(&pdu, key), Verification::Valid);
}

#[test]
fn signed_event_with_redactable_content() {
    let event = json!({
        "content": {"body": "Here is the message content"}, "event_id": "$0:domain", "origin": "domain",
        "origin_server_ts": 1000000, "type": "m.room.message", "room_id": "!r:domain", "sender": "@u:domain",
        "unsigned": {"age_ts": 1000000},
    });
    for version in WITH_ORIGIN {
        let (hash, signature) = hashed_and_signed(version, event.clone());
        assert_eq!(hash, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g");
        assert_eq!(
            signature,
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
        );
    }
}

fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

#[test]
fn size_limit_is_exact() {
    let event = |padding: usize| {
        let template = json!({
            "room_id": "!x:domain", "sender": "@a:domain", "origin_server_ts": 1, "type": "m.test", "depth": 1,
            "content": {"padding": "x".repeat(padding)}, "prev_events": [], "auth_events": [],
        });
        sign_template(RoomVersion::V11, object(template), "domain", &key_pair())
    };
    let overhead = event(0).unwrap().json().len();
    assert_eq!(event(65_536 - overhead).unwrap().json().len(), 65_536);
    assert_eq!(event(65_537 - overhead), Err(hearth_rooms::PduError::TooLarge));
}

#[test]
fn unsigned_is_not_part_of_an_event() {
    let template = json!({
        "room_id": "!x:domain", "sender": "@a:domain", "origin_server_ts": 1, "type": "m.test", "depth": 1,
        "content": {}, "prev_events": [], "auth_events": [],
    });
    let pdu = sign_template(RoomVersion::V11, object(template), "domain", &key_pair()).unwrap();
    let mut value: Value = serde_json::from_str(pdu.json()).unwrap();
    value["unsigned"] = json!({"age": 1, "padding": "x".repeat(70_000)});
    assert_eq!(Pdu::from_value(RoomVersion::V11, value).unwrap(), pdu);
}
