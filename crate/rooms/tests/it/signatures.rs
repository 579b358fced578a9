//! Signatures: who must sign, which flaws are found, until when keys are valid. The cases are those of
//! ruma-signatures' tests (`src/verify/tests.rs`, `src/lib.rs`, MIT) and of Room Versions 1, 3, 5 and 8.

use hearth_rooms::{
    JsonObject, Pdu, RoomVersion, Verification,
    signatures::{MAX_KEY_VALIDITY, VerifyKey, hash_and_sign, required_servers, sign, verify},
};
use proptest::prelude::*;
use ruma_common::ServerName;
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, json};

/// A key pair that `seed` makes, called `ed25519:{version}`.
fn key_pair(seed: u8, version: &str) -> Ed25519KeyPair {
    let header = hex::decode("302e020100300506032b657004220420").unwrap();
    Ed25519KeyPair::from_der(&[&header[..], &[seed; 32]].concat(), version.into()).unwrap()
}

/// The key of a server in these tests: that of the seed that its name begins with.
fn key_of(server: &ServerName, key_id: &str) -> Option<[u8; 32]> {
    let seed = *server.as_str().as_bytes().first()?;
    (key_id == "ed25519:1").then(|| key_pair(seed, "1").public_key())
}

/// An event of `@u:sender` that nobody has signed.
fn event(version: RoomVersion, event_type: &str, content: Value) -> JsonObject {
    let room = match version.room_id_is_create_hash() {
        true => format!("!{}", "r".repeat(43)),
        false => "!room:other".into(),
    };
    let event = json!({
        "auth_events": [], "content": content, "depth": 3, "event_id": "$id:named", "origin_server_ts": 1_000_000,
        "prev_events": [], "room_id": room, "sender": "@u:sender", "state_key": "@v:target", "type": event_type,
    });
    event.as_object().unwrap().clone()
}

/// `event`, hashed, and signed by `servers` and somebody who has nothing to do with it.
fn signed(version: RoomVersion, mut event: JsonObject, servers: &[&str]) -> Pdu {
    for server in servers.iter().chain(&["nobody"]) {
        let seed = server.as_bytes()[0];
        hash_and_sign(version, &mut event, server, &key_pair(seed, "1")).unwrap();
    }
    Pdu::from_object(version, event).unwrap()
}

fn is_valid(pdu: &Pdu) -> bool {
    verify(pdu, key_of) == Verification::Valid
}

/// The servers that must sign an event, and that all of them must.
fn requires(version: RoomVersion, event: &JsonObject, servers: &[&str]) {
    let whole = signed(version, event.clone(), servers);
    assert_eq!(required_servers(&whole).unwrap(), servers, "version {version}");
    assert!(is_valid(&whole), "version {version}");
    for missing in servers {
        let others: Vec<_> = servers
            .iter()
            .filter(|server| *server != missing)
            .copied()
            .collect();
        let pdu = signed(version, event.clone(), &others);
        assert!(
            matches!(verify(&pdu, key_of), Verification::Invalid(_)),
            "version {version} without {missing}"
        );
    }
}

#[test]
fn the_server_of_the_sender_signs_and_in_versions_1_and_2_that_of_the_event_id() {
    for version in RoomVersion::ALL {
        let event = event(version, "m.room.message", json!({"body": "x"}));
        match version {
            RoomVersion::V1 | RoomVersion::V2 => requires(version, &event, &["named", "sender"]),
            _ => requires(version, &event, &["sender"]),
        }
    }
}

#[test]
fn an_invite_by_third_party_needs_no_signature_of_the_sender() {
    let content = json!({"membership": "invite", "third_party_invite": {"signed": {}}});
    for version in RoomVersion::ALL {
        let event = event(version, "m.room.member", content.clone());
        match version {
            RoomVersion::V1 | RoomVersion::V2 => requires(version, &event, &["named"]),
            _ => requires(version, &event, &[]),
        }
    }
    let other = json!({"membership": "join", "third_party_invite": {"signed": {}}});
    requires(
        RoomVersion::V12,
        &event(RoomVersion::V12, "m.room.member", other),
        &["sender"],
    );
}

#[test]
fn an_invite_that_loses_its_third_party_is_signed_by_its_sender() {
    let content = json!({"membership": "invite", "third_party_invite": {}});
    for version in RoomVersion::ALL {
        let verified = |servers: &[&str]| {
            let mut event = event(version, "m.room.member", content.clone());
            event.insert("hashes".into(), json!({"sha256": "A".repeat(43)}));
            for server in servers {
                sign(version, &mut event, server, &key_pair(server.as_bytes()[0], "1")).unwrap();
            }
            verify(&Pdu::from_object(version, event).unwrap(), key_of)
        };
        assert!(matches!(
            verified(&["named", "sender"]),
            Verification::HashMismatch(_)
        ));
        match verified(&["named"]) {
            Verification::Invalid(_) => assert!(version < RoomVersion::V11, "version {version}"),
            // Redaction leaves it the third party, whom the rules refuse.
            Verification::HashMismatch(redacted) => {
                let content: JsonObject = redacted.content_as().unwrap();
                assert!(content.contains_key("third_party_invite"), "version {version}");
            }
            Verification::Valid => panic!("version {version}"),
        }
    }
}

#[test]
fn who_lets_into_a_restricted_room_signs_from_version_8_on() {
    let content = json!({"membership": "join", "join_authorised_via_users_server": "@w:voucher"});
    for version in RoomVersion::ALL.into_iter().skip(2) {
        let event = event(version, "m.room.member", content.clone());
        match version >= RoomVersion::V8 {
            true => requires(version, &event, &["sender", "voucher"]),
            false => requires(version, &event, &["sender"]),
        }
    }
    let message = event(RoomVersion::V12, "m.room.message", content);
    requires(RoomVersion::V12, &message, &["sender"]);
    let malformed = json!({"membership": "join", "join_authorised_via_users_server": "nobody"});
    let malformed = event(RoomVersion::V12, "m.room.member", malformed);
    assert!(matches!(
        verify(&signed(RoomVersion::V12, malformed, &["sender"]), key_of),
        Verification::Invalid(_)
    ));
}

/// What a change of `signatures.sender` makes of a good event.
fn with_signatures(signatures: impl Fn(&Value) -> Value) -> Verification {
    let version = RoomVersion::V11;
    let good = signed(version, event(version, "X", json!({})), &["sender"]);
    let mut object = good.to_object().unwrap();
    object["signatures"]["sender"] = signatures(&object["signatures"]["sender"]["ed25519:1"]);
    verify(&Pdu::from_object(version, object).unwrap(), key_of)
}

#[test]
fn signatures_that_do_not_count() {
    let invalid = |signatures: &dyn Fn(&Value) -> Value| {
        let verification = with_signatures(signatures);
        assert!(
            matches!(verification, Verification::Invalid(_)),
            "{verification:?}"
        );
    };
    invalid(&|_| json!({}));
    invalid(&|_| json!(null));
    invalid(&|_| json!("text"));
    invalid(&|good| json!({"ed25519:2": good}));
    invalid(&|good| json!({"other:1": good}));
    invalid(&|_| json!({"ed25519:1": 1}));
    invalid(&|_| json!({"ed25519:1": "not base64!"}));
    invalid(&|_| json!({"ed25519:1": "AAAA"}));
    invalid(&|_| json!({"ed25519:1": "A".repeat(86)}));
}

#[test]
fn signatures_with_other_keys_are_passed_over() {
    let valid = |signatures: &dyn Fn(&Value) -> Value| {
        assert_eq!(with_signatures(signatures), Verification::Valid);
    };
    valid(&|good| json!({"ed25519:1": good}));
    valid(&|good| json!({"ed25519:1": good, "ed25519:old": "AAAA"}));
    valid(&|good| json!({"ed25519:1": good, "unknown-algorithm:1": "AAAA"}));
}

#[test]
fn every_signature_with_a_known_key_is_checked() {
    let version = RoomVersion::V11;
    let mut event = event(version, "X", json!({}));
    hash_and_sign(version, &mut event, "sender", &key_pair(b's', "1")).unwrap();
    sign(version, &mut event, "sender", &key_pair(7, "2")).unwrap();
    let pdu = Pdu::from_object(version, event).unwrap();
    let keys = |second: [u8; 32]| {
        move |server: &ServerName, key_id: &str| match key_id {
            "ed25519:2" => Some(second),
            _ => key_of(server, key_id),
        }
    };
    let right = key_pair(7, "2").public_key();
    assert_eq!(verify(&pdu, keys(right)), Verification::Valid);
    let wrong = key_pair(8, "2").public_key();
    assert!(matches!(verify(&pdu, keys(wrong)), Verification::Invalid(_)));
    // No point of the curve.
    assert!(matches!(verify(&pdu, keys([255; 32])), Verification::Invalid(_)));
}

#[test]
fn an_event_without_a_content_hash_is_refused() {
    for version in RoomVersion::ALL {
        let mut event = event(version, "X", json!({}));
        event.insert("hashes".into(), json!({"md5": "x"}));
        for server in ["named", "sender"] {
            sign(version, &mut event, server, &key_pair(server.as_bytes()[0], "1")).unwrap();
        }
        let pdu = Pdu::from_object(version, event).unwrap();
        assert!(matches!(verify(&pdu, key_of), Verification::Invalid(_)));
    }
}

/// Whether an event of 1,000,000 ms after the epoch is valid by a key.
fn valid_by(version: RoomVersion, valid_until_ts: u64, now: u64) -> bool {
    let pdu = signed(version, event(version, "X", json!({})), &["named", "sender"]);
    let key = |server: &ServerName, key_id: &str| {
        Some(VerifyKey::published(key_of(server, key_id)?, valid_until_ts, now))
    };
    verify(&pdu, key) == Verification::Valid
}

#[test]
fn from_version_5_on_keys_sign_only_while_they_are_valid() {
    for version in RoomVersion::ALL {
        let enforced = version >= RoomVersion::V5;
        assert!(valid_by(version, 1_000_000, 0));
        assert_eq!(valid_by(version, 999_999, 0), !enforced, "version {version}");
    }
}

#[test]
fn no_key_is_valid_for_more_than_a_week_from_now() {
    let in_time = 1_000_000_u64.saturating_sub(MAX_KEY_VALIDITY);
    assert_eq!(in_time, 0, "the event is within a week of the epoch");
    let late = |now: u64| {
        let version = RoomVersion::V12;
        let mut event = event(version, "X", json!({}));
        event.insert("origin_server_ts".into(), (MAX_KEY_VALIDITY + 10).into());
        let pdu = signed(version, event, &["sender"]);
        let key = |server: &ServerName, key_id: &str| {
            Some(VerifyKey::published(key_of(server, key_id)?, u64::MAX, now))
        };
        verify(&pdu, key) == Verification::Valid
    };
    assert!(late(10));
    assert!(!late(9));
    assert!(late(u64::MAX));
}

proptest! {
    #[test]
    fn a_signed_event_verifies_and_with_any_byte_changed_it_does_not(
        version in proptest::sample::select(&RoomVersion::ALL[..]),
        body in ".{0,20}",
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let pdu = signed(version, event(version, "X", json!({"body": body})), &["named", "sender"]);
        prop_assert_eq!(verify(&pdu, key_of), Verification::Valid);
        let mut bytes = pdu.json().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Ok(changed) = Pdu::parse(version, &text) else { return Ok(()) };
        if verify(&changed, key_of) == Verification::Valid {
            // Bits of base64 that carry nothing, and signatures of others, are all that may differ.
            let unsigned = |pdu: &Pdu| {
                let mut object = pdu.to_object().unwrap();
                object.remove("signatures");
                object
            };
            prop_assert_eq!(unsigned(&changed), unsigned(&pdu));
        }
    }
}
