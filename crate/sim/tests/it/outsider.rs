//! A homeserver driven by hand: it has a key and so a name, and says whatever a test wants it to.

use hearth_api::{Body, Source};
use hearth_homeserver::Identity;
use hearth_rooms::{Pdu, RoomVersion, builder::sign_template, signatures::hash_and_sign};
use hearth_sim::{Answer, World};
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma_common::serde::Base64;
use ruma_signatures::KeyPair;
use serde_json::{Value, json};

pub(crate) struct Outsider {
    pub(crate) identity: Identity,
    pub(crate) user_id: String,
}

impl Outsider {
    pub(crate) fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]).unwrap();
        let user_id = format!("@mallory:{}", identity.server_name());
        Self { identity, user_id }
    }

    /// The homeserver of `user_id`, whose key is `seed`.
    pub(crate) fn of(seed: &[u8; 32], user_id: &str) -> Self {
        Self {
            identity: Identity::from_seed(*seed).unwrap(),
            user_id: user_id.to_owned(),
        }
    }

    /// Asks server 0, signed as the specification says.
    pub(crate) fn ask(&self, world: &World, method: &str, uri: &str, content: Option<Value>) -> Answer {
        let destination = world.server(0).name().to_owned();
        let header = self.authorization(method, uri, &destination, content.as_ref());
        self.ask_with(world, method, uri, content, Some(&header))
    }

    /// Sends a transaction to server number `server`.
    pub(crate) fn transaction_to(
        &self,
        world: &World,
        server: usize,
        txn_id: &str,
        pdus: Vec<Value>,
    ) -> Answer {
        let content = json!({
            "origin": self.identity.server_name(), "origin_server_ts": 1_700_000_000_000_u64, "pdus": pdus,
        });
        let uri = format!("/_matrix/federation/v1/send/{txn_id}");
        let header = self.authorization("PUT", &uri, world.server(server).name(), Some(&content));
        let request = Request::builder()
            .method("PUT")
            .uri(uri)
            .header("Authorization", header);
        let request = request.body(Body::from(content.to_string())).unwrap();
        world.raw_request(server, request, Source::Federation)
    }

    /// Asks server 0 with any `Authorization` header.
    pub(crate) fn ask_with(
        &self,
        world: &World,
        method: &str,
        uri: &str,
        content: Option<Value>,
        authorization: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(header) = authorization {
            request = request.header("Authorization", header);
        }
        let body = content.map_or_else(Body::empty, |content| Body::from(content.to_string()));
        world.raw_request(0, request.body(body).unwrap(), Source::Federation)
    }

    /// The `X-Matrix` header of a request.
    pub(crate) fn authorization(&self, method: &str, uri: &str, to: &str, content: Option<&Value>) -> String {
        let origin = self.identity.server_name();
        let mut object = json!({"method": method, "uri": uri, "origin": origin, "destination": to});
        if let Some(content) = content {
            object["content"] = content.clone();
        }
        let signature = self
            .identity
            .key_pair()
            .sign(object.to_string().as_bytes())
            .base64();
        format!(r#"X-Matrix origin="{origin}",destination="{to}",key="ed25519:1",sig="{signature}""#)
    }

    /// Joins a room on server 0. Returns the template that the join was made from.
    pub(crate) fn join(&self, world: &World, room: &str) -> Value {
        let (room, user) = (encode(room), encode(&self.user_id));
        let uri = format!("/_matrix/federation/v1/make_join/{room}/{user}?ver=11&ver=12");
        let made = self.ask(world, "GET", &uri, None);
        let template = made.expect(200)["event"].clone();
        let version: RoomVersion = made["room_version"].as_str().unwrap().parse().unwrap();
        let join = self.sign(version, template.clone());
        let uri = format!(
            "/_matrix/federation/v2/send_join/{room}/{}",
            encode(join.event_id().as_str())
        );
        self.ask(world, "PUT", &uri, Some(json_of(&join))).expect(200);
        template
    }

    /// The event that `template` says, hashed and signed.
    pub(crate) fn sign(&self, version: RoomVersion, template: Value) -> Pdu {
        sign_template(
            version,
            template.as_object().unwrap().clone(),
            self.identity.server_name(),
            self.identity.key_pair(),
        )
        .unwrap()
    }

    /// Like [`Outsider::sign`], but an `event_id` that the template has stays.
    pub(crate) fn sign_as_is(&self, version: RoomVersion, template: Value) -> Pdu {
        let mut event = template.as_object().unwrap().clone();
        let server_name = self.identity.server_name();
        hash_and_sign(version, &mut event, server_name, self.identity.key_pair()).unwrap();
        Pdu::from_object(version, event).unwrap()
    }

    /// What `/_matrix/key/v2/server` says, with `padding` bytes more than it takes.
    pub(crate) fn published(&self, padding: usize) -> Value {
        let key = self.identity.server_name().to_owned();
        let public: Base64 = Base64::new(self.identity.key_pair().public_key().to_vec());
        let mut keys = json!({
            "server_name": key, "valid_until_ts": 9_000_000_000_000_000_u64, "old_verify_keys": {},
            "verify_keys": {"ed25519:1": {"key": public.encode()}}, "padding": "x".repeat(padding),
        });
        let signature = self.identity.key_pair().sign(keys.to_string().as_bytes());
        keys["signatures"] = json!({key: {"ed25519:1": signature.base64()}});
        keys
    }

    /// Sends a transaction to server 0.
    pub(crate) fn transaction(&self, world: &World, txn_id: &str, pdus: Vec<Value>) -> Answer {
        let content = json!({
            "origin": self.identity.server_name(), "origin_server_ts": 1_700_000_000_000_u64, "pdus": pdus,
        });
        self.ask(
            world,
            "PUT",
            &format!("/_matrix/federation/v1/send/{txn_id}"),
            Some(content),
        )
    }
}

pub(crate) fn json_of(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json()).unwrap()
}

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
