//! A peer that attacks one server through a relay and prints, as JSON, what the server made of each attempt.
//!
//! `hostile_peer RELAY_MULTIADDR SERVER_NAME ROOM_ID USER_ID`, where the user is whom it pretends to be. The
//! end-to-end tests set it upon a homeserver in a browser.

#![cfg_attr(target_family = "wasm", allow(unused))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program fails by panicking"
)]

#[cfg(not(target_family = "wasm"))]
#[path = "../tests/common/mod.rs"]
mod common;

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [relay, server, room, user] = arguments.try_into().unwrap();
    let attempts = attack::Attack::start(&relay, &server);
    println!("{}", attempts.run(&room, &user).await);
}

#[cfg(not(target_family = "wasm"))]
mod attack {
    use std::sync::Arc;

    use bytes::Bytes;
    use hearth_homeserver::{Federation as _, Identity};
    use hearth_p2p::{Config, Network};
    use http::{Request, Response};
    use ruma_common::CanonicalJsonObject;
    use ruma_signatures::sign_json;
    use serde_json::{Value, json};

    use crate::common::{Tasks, TokioClock, raw_peer::RawPeer};

    const SEED: [u8; 32] = [66; 32];

    /// The attacker, with an honest connection and a raw one.
    pub(crate) struct Attack {
        relay: String,
        server: String,
        identity: Identity,
        network: Network,
    }

    impl Attack {
        pub(crate) fn start(relay: &str, server: &str) -> Self {
            let config = Config {
                relays: vec![relay.to_owned()],
                ..Config::default()
            };
            let network =
                Network::start(SEED, config, Arc::new(TokioClock), Arc::<Tasks>::default()).unwrap();
            let identity = Identity::from_seed(SEED).unwrap();
            Self {
                relay: relay.to_owned(),
                server: server.to_owned(),
                identity,
                network,
            }
        }

        pub(crate) async fn run(&self, room: &str, user: &str) -> Value {
            json!({
                "malformed_frames_answered": self.malformed_frames().await,
                "unsigned_request": self.get(None).await,
                "forged_request": self.get(Some(self.authorization("GET", SIGNED_URI, None).replace("sig=\"", "sig=\"AAAA"))).await,
                "honest_request": self.get(Some(self.authorization("GET", SIGNED_URI, None))).await,
                "client_request": self.client_request().await,
                "forged_event": self.forged_event(room, user).await,
            })
        }

        /// How many of the malformed frames got any answer.
        async fn malformed_frames(&self) -> usize {
            let mut peer = RawPeer::start(&self.relay, &self.server).await;
            let mut answered = 0;
            for bytes in [
                &b""[..],
                &[0xff; 100_000],
                b"\0\0\0\x07garbage",
                b"\0\0\0\x05\x83\x01\x62/a",
            ] {
                answered += usize::from(!peer.answer(bytes).await.is_empty());
            }
            answered
        }

        /// The status of a request that must be signed.
        async fn get(&self, authorization: Option<String>) -> u16 {
            self.send("GET", SIGNED_URI, authorization, None)
                .await
                .status()
                .as_u16()
        }

        /// The status of a request to the API that only the user's own pages may call.
        async fn client_request(&self) -> u16 {
            self.send("GET", "/_matrix/client/versions", None, None)
                .await
                .status()
                .as_u16()
        }

        /// The server's verdict on a message in the name of `user`, signed by somebody else.
        async fn forged_event(&self, room: &str, user: &str) -> Value {
            let uri = "/_matrix/federation/v1/send/forged";
            let owner = user.split_once(':').map(|(_, server)| server).unwrap();
            let event = json!({
                "room_id": room, "sender": user, "type": "m.room.message", "depth": 1, "origin_server_ts": 1,
                "content": { "msgtype": "m.text", "body": "forged" }, "prev_events": [], "auth_events": [],
                "hashes": { "sha256": "A".repeat(43) }, "signatures": { owner: { "ed25519:1": "A".repeat(86) } },
            });
            let name = self.identity.server_name();
            let content = json!({ "origin": name, "origin_server_ts": 1, "pdus": [event], "edus": [] });
            let authorization = self.authorization("PUT", uri, Some(&content));
            let answer = self.send("PUT", uri, Some(authorization), Some(&content)).await;
            json!({ "status": answer.status().as_u16(), "body": serde_json::from_slice::<Value>(answer.body()).unwrap() })
        }

        async fn send(
            &self,
            method: &str,
            uri: &str,
            authorization: Option<String>,
            content: Option<&Value>,
        ) -> Response<Bytes> {
            let mut request = Request::builder().method(method).uri(uri);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let body = content
                .map(|content| serde_json::to_vec(content).unwrap())
                .unwrap_or_default();
            self.network
                .send(&self.server, request.body(body.into()).unwrap())
                .await
                .unwrap()
        }

        /// A right `X-Matrix` header. Spec: Server-Server API, section 'Request Authentication'.
        fn authorization(&self, method: &str, uri: &str, content: Option<&Value>) -> String {
            let name = self.identity.server_name();
            let mut object =
                json!({ "method": method, "uri": uri, "origin": name, "destination": self.server });
            if let Some(content) = content {
                object["content"] = content.clone();
            }
            let mut object: CanonicalJsonObject = serde_json::from_value(object).unwrap();
            sign_json(name, self.identity.key_pair(), &mut object).unwrap();
            let signed = serde_json::to_value(&object).unwrap();
            let signature = signed["signatures"][name]["ed25519:1"].as_str().unwrap();
            let destination = &self.server;
            format!(
                r#"X-Matrix origin="{name}",destination="{destination}",key="ed25519:1",sig="{signature}""#
            )
        }
    }

    /// A request that any server may make of any other, signed.
    const SIGNED_URI: &str = "/_matrix/federation/v1/query/profile?user_id=%40nobody%3Aexample.org";
}
