//! Vectors of the Matrix specification, appendices "Canonical JSON" and "Cryptographic Test Vectors".

use hearth_rooms::{Pdu, RoomVersion, Verification, builder::sign_template, signatures::verify};
use ruma_common::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, hash_and_sign_event, sign_json};
use serde_json::{Value, json};

/// Key `ed25519:1` of the server `domain`.
fn key_pair() -> Ed25519KeyPair {
    let seed = Base64::<Standard>::parse("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let header = hex::decode("302e020100300506032b657004220420").unwrap();
    Ed25519KeyPair::from_der(&[header, seed.into_inner()].concat(), "1".into()).unwrap()
}

fn canonical(json: &str) -> Option<String> {
    let object: CanonicalJsonObject = serde_json::from_str(json).ok()?;
    serde_json::to_string(&object).ok()
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

#[test]
fn what_strict_canonical_json_forbids_is_refused() {
    for json in [
        r#"{"a": 1.5}"#,
        r#"{"a": 9007199254740992}"#,
        r#"{"a": -9007199254740992}"#,
        r#"{"a": 1e400}"#,
    ] {
        assert_eq!(canonical(json), None, "{json}");
    }
}

#[test]
fn signed_json() {
    let sign = |object: Value| {
        let mut object: CanonicalJsonObject = serde_json::from_value(object).unwrap();
        sign_json("domain", &key_pair(), &mut object).unwrap();
        json!(object)
            .pointer("/signatures/domain/ed25519:1")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
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

#[test]
fn signed_event_with_minimal_data() {
    let template = json!({
        "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1000000,
        "type": "X", "content": {}, "prev_events": [], "auth_events": [], "depth": 3,
    });
    let template: CanonicalJsonObject = serde_json::from_value(template).unwrap();
    let pdu = sign_template(RoomVersion::V6, template, "domain", &key_pair()).unwrap();
    let json: Value = serde_json::from_str(pdu.json()).unwrap();
    assert_eq!(
        json["hashes"]["sha256"],
        "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"
    );
    assert_eq!(
        json["signatures"]["domain"]["ed25519:1"],
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
    );
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
    let mut event: CanonicalJsonObject = serde_json::from_value(event).unwrap();
    hash_and_sign_event(
        "domain",
        &key_pair(),
        &mut event,
        &RoomVersion::V6.rules().redaction,
    )
    .unwrap();
    let json = json!(event);
    assert_eq!(
        json["hashes"]["sha256"],
        "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"
    );
    assert_eq!(
        json["signatures"]["domain"]["ed25519:1"],
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
    );
}

#[test]
fn size_limit_is_exact() {
    let event = |padding: usize| {
        let template = json!({
            "room_id": "!x:domain", "sender": "@a:domain", "origin_server_ts": 1, "type": "m.test", "depth": 1,
            "content": {"padding": "x".repeat(padding)}, "prev_events": [], "auth_events": [],
        });
        sign_template(
            RoomVersion::V11,
            serde_json::from_value(template).unwrap(),
            "domain",
            &key_pair(),
        )
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
    let pdu = sign_template(
        RoomVersion::V11,
        serde_json::from_value(template).unwrap(),
        "domain",
        &key_pair(),
    )
    .unwrap();
    let mut value: Value = serde_json::from_str(pdu.json()).unwrap();
    value["unsigned"] = json!({"age": 1, "padding": "x".repeat(70_000)});
    assert_eq!(Pdu::from_value(RoomVersion::V11, value).unwrap(), pdu);
}
