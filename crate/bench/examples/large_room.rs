//! A homeserver in memory that is in a synthetic room and lets others join it through a relay.
//!
//! `large_room RELAY_MULTIADDR MEMBERS` prints one line of JSON once it can be joined, `{"room": …, "server": …,
//! "members": …}`, and serves until it is killed. The benchmark of the app lets a browser join.

#![cfg_attr(target_family = "wasm", allow(unused))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for measuring fails by panicking"
)]

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [relay, members] = arguments.try_into().unwrap();
    println!("{}", holder::start(relay, members.parse().unwrap()).await);
    std::future::pending().await
}

#[cfg(not(target_family = "wasm"))]
mod holder {
    use std::{
        io,
        sync::Arc,
        time::{Duration, SystemTime, UNIX_EPOCH},
    };

    use bytes::Bytes;
    use futures::TryStreamExt as _;
    use hearth_api::{Api, ApiConfig, Body, Source};
    use hearth_homeserver::{
        Clock, Config, Federation, FederationError, Homeserver, Identity, NoImages, Rng, Seams, Spawner,
        accounts::register::Registration,
    };
    use hearth_p2p::{Answer, Handler, Network};
    use hearth_rooms::RoomVersion;
    use hearth_sim::synthetic::SyntheticRoom;
    use hearth_storage::{BoxFuture, MemoryStore};
    use http::{Request, Response};
    use ruma_common::{OwnedServerName, RoomOrAliasId, ServerName};
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    const SEED: [u8; 32] = [77; 32];

    /// Joins a room of `members` members and serves it through `relay`; what others need in order to join.
    pub(crate) async fn start(relay: String, members: usize) -> Value {
        let room = Arc::new(SyntheticRoom::new(1, RoomVersion::V12, members, members.min(100)));
        let config = hearth_p2p::Config {
            relays: vec![relay],
            ..hearth_p2p::Config::default()
        };
        let network = Network::start(SEED, config, Arc::new(TokioClock), Arc::new(Tasks)).unwrap();
        let homeserver = homeserver(&network, &room).await;
        network.serve(Arc::new(Peers {
            api: Api::new(homeserver.clone(), ApiConfig::default()),
            homeserver: homeserver.clone(),
        }));
        while !network.status().relays.iter().any(|relay| relay.reserved) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The founder and the user here are members too.
        json!({ "room": room.room_id, "server": homeserver.server_name(), "members": members + 2 })
    }

    /// A homeserver with a user in the room.
    async fn homeserver(network: &Network, room: &Arc<SyntheticRoom>) -> Arc<Homeserver> {
        let seams = Seams {
            store: Arc::new(MemoryStore::new()),
            federation: Arc::new(World {
                network: network.clone(),
                room: room.clone(),
            }),
            clock: Arc::new(TokioClock),
            rng: Arc::new(SeededRng::default()),
            spawner: Arc::new(Tasks),
            images: Arc::new(NoImages),
        };
        let identity = Identity::from_seed(SEED).unwrap();
        let homeserver = Homeserver::open(seams, identity, Config::default())
            .await
            .unwrap();
        let wish = Registration {
            username: Some("helper".to_owned()),
            ..Registration::default()
        };
        let (user_id, _) = homeserver.register(wish).await.unwrap();
        let via = [OwnedServerName::try_from(room.founder_server()).unwrap()];
        let room_id = <&RoomOrAliasId>::try_from(room.room_id.as_str()).unwrap();
        homeserver.join_room(&user_id, room_id, &via, None).await.unwrap();
        homeserver
    }

    /// The relay's network, and the founder's server, which is on none.
    struct World {
        network: Network,
        room: Arc<SyntheticRoom>,
    }

    impl Federation for World {
        fn send<'a>(
            &'a self,
            destination: &'a str,
            request: Request<Bytes>,
        ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
            if destination != self.room.founder_server() {
                return self.network.send(destination, request);
            }
            Box::pin(async move {
                let body = serde_json::from_slice(request.body()).unwrap_or_default();
                let answer = self.room.answer(&request.uri().to_string(), &body);
                let answer = answer.ok_or(FederationError::Unreachable)?;
                Ok(Response::new(answer.to_string().into()))
            })
        }
    }

    /// Answers peers with the federation part of the API.
    struct Peers {
        api: Api,
        homeserver: Arc<Homeserver>,
    }

    impl Handler for Peers {
        fn handle(&self, _from: String, request: Request<Bytes>) -> BoxFuture<'_, Response<Answer>> {
            Box::pin(async move {
                let answer = self.api.handle(request.map(Body::from), Source::Federation).await;
                answer.map(|body| Answer::stream(body.map_err(io::Error::other)))
            })
        }

        fn peer_online(&self, server: &str) {
            if let Ok(server) = <&ServerName>::try_from(server) {
                self.homeserver.peer_online(server);
            }
        }

        /// Nobody: the servers of the members are down for good.
        fn peers_of_interest(&self) -> BoxFuture<'_, Vec<String>> {
            Box::pin(async { Vec::new() })
        }
    }

    struct TokioClock;

    impl Clock for TokioClock {
        fn now(&self) -> u64 {
            u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(duration))
        }
    }

    struct Tasks;

    impl Spawner for Tasks {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            tokio::spawn(task);
        }
    }

    /// The same bytes in every run: no secret of a benchmark guards anything.
    #[derive(Default)]
    struct SeededRng(std::sync::Mutex<u64>);

    impl Rng for SeededRng {
        fn fill(&self, bytes: &mut [u8]) {
            let mut count = self.0.lock().unwrap();
            for chunk in bytes.chunks_mut(32) {
                *count += 1;
                let random = Sha256::digest(count.to_be_bytes());
                chunk.iter_mut().zip(random).for_each(|(to, from)| *to = from);
            }
        }
    }
}
