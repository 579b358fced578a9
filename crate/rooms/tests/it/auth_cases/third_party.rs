//! Invites of people who were known by an address alone: somebody else vouches for who they are.

use hearth_rooms::RoomVersion;
use ruma_common::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::sign_json;
use serde_json::{Value, json};

use super::{BAN, LEAVE, Said, Scene, member};
use crate::room::Server;

const SERVICE: &str = "identity.example.org";

/// A room in which bob offered an invite, for which the identity service of seed 9 has the key.
fn scene(version: RoomVersion) -> Scene {
    let mut scene = Scene::new(version);
    offer(&mut scene, "@bob", &key_of(9));
    scene
}

fn key_of(seed: u8) -> String {
    Base64::<Standard, _>::new(Server::new(seed).key_pair.public_key()).encode()
}

fn offer(scene: &mut Scene, sender: &'static str, key: &str) {
    let content = json!({
        "display_name": "z...@o...", "key_validity_url": "https://identity.example.org/valid",
        "public_key": key, "public_keys": [{ "public_key": key }],
    });
    let server = &scene.people[sender];
    let builder = scene.room.builder(
        server,
        "m.room.third_party_invite",
        Some("token"),
        content,
        &scene.state,
        &[],
    );
    scene.room.add(builder, server, &mut scene.state);
}

/// Zara's address is hers, signed by the service of seed 9.
fn signed(scene: &Scene) -> Value {
    let signed = json!({
        "mxid": scene.people["@zara"].user, "sender": scene.people["@bob"].user, "token": "token",
    });
    let mut signed: CanonicalJsonObject = serde_json::from_value(signed).unwrap();
    sign_json(SERVICE, &Server::new(9).key_pair, &mut signed).unwrap();
    serde_json::to_value(signed).unwrap()
}

/// Whether bob may invite `user` by `signed`.
fn may_invite(scene: &mut Scene, user: &'static str, signed: Option<Value>) -> bool {
    let mut builder = scene.builder(&member("@bob", user, r#"{"membership": "invite"}"#));
    let mut invite = json!({ "display_name": "z...@o..." });
    if let Some(signed) = signed {
        invite["signed"] = signed;
    }
    let offer = scene
        .state
        .get(&("m.room.third_party_invite".into(), "token".into()));
    let token = invite["signed"]["token"].as_str() == Some("token");
    if let Some(offer) = offer.filter(|_| token) {
        let hash = scene.room.events[offer].reference_hash().unwrap();
        builder.auth_events.push(offer.clone());
        builder.reference_hashes.insert(offer.clone(), hash);
    }
    builder.content.insert("third_party_invite".into(), invite);
    scene.allows_built("@bob", builder)
}

#[test]
fn who_is_vouched_for_may_be_invited() {
    for version in RoomVersion::ALL {
        let mut scene = scene(version);
        let signed = signed(&scene);
        assert!(may_invite(&mut scene, "@zara", Some(signed.clone())), "{version}");
        assert!(
            !may_invite(&mut scene, "@charlie", Some(signed.clone())),
            "{version}: somebody else"
        );
        scene.add(&member("@alice", "@zara", BAN));
        assert!(
            !may_invite(&mut scene, "@zara", Some(signed)),
            "{version}: the banned"
        );
    }
}

#[test]
fn what_is_signed_names_who_and_what() {
    for version in RoomVersion::ALL {
        let mut scene = scene(version);
        let whole = signed(&scene);
        assert!(!may_invite(&mut scene, "@zara", None), "{version}: nothing");
        for field in ["mxid", "token", "signatures"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(field);
            assert!(
                !may_invite(&mut scene, "@zara", Some(part)),
                "{version}: without {field}"
            );
        }
        let mut changed = whole;
        changed["sender"] = json!("@eve:example.org");
        assert!(
            !may_invite(&mut scene, "@zara", Some(changed)),
            "{version}: changed"
        );
    }
}

#[test]
fn the_signature_is_by_a_key_of_the_offer() {
    for version in RoomVersion::ALL {
        let mut scene = scene(version);
        let whole = signed(&scene);
        let good = whole["signatures"][SERVICE]["ed25519:1"].clone();
        assert!(good.is_string());
        for signatures in [
            json!({}),
            json!({ SERVICE: {} }),
            json!({ SERVICE: { "ed25519:0": "ClearlyWrongSignature" } }),
            json!({ SERVICE: { "unknown:0": good } }),
            json!({ SERVICE: { "ed25519:1": 1 } }),
            json!({ SERVICE: good }),
        ] {
            let mut changed = whole.clone();
            changed["signatures"] = signatures.clone();
            assert!(
                !may_invite(&mut scene, "@zara", Some(changed)),
                "{version}: {signatures}"
            );
        }
        offer(&mut scene, "@bob", &key_of(8));
        assert!(
            !may_invite(&mut scene, "@zara", Some(whole)),
            "{version}: another key"
        );
    }
}

#[test]
fn the_offer_stands_and_is_ones_own() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let signed = signed(&scene);
        assert!(
            !may_invite(&mut scene, "@zara", Some(signed.clone())),
            "{version}: no offer"
        );
        offer(&mut scene, "@alice", &key_of(9));
        assert!(
            !may_invite(&mut scene, "@zara", Some(signed.clone())),
            "{version}: alice's offer"
        );
        offer(&mut scene, "@bob", &key_of(9));
        assert!(may_invite(&mut scene, "@zara", Some(signed.clone())), "{version}");
        // The specification asks for nothing more: who made the offer need not be there any more.
        let gone: Said = member("@bob", "@bob", LEAVE);
        scene.add(&gone);
        assert!(
            may_invite(&mut scene, "@zara", Some(signed)),
            "{version}: who left"
        );
    }
}
