//! A world: servers, the network between them, and time.

use std::{sync::Arc, time::Duration};

use futures::channel::oneshot;
use hearth_api::{Body, Source};
use hearth_homeserver::accounts::{NewDevice, register::Registration};
use http::Request;

use crate::{
    client::{Answer, Client, credentials, read},
    clock::VirtualClock,
    executor::{Executor, Owner},
    network::{Network, Traffic, Unreliability},
    random::Random,
    server::{Platform, Process, Server},
};

/// How long [`World::settle`] lets the servers talk: longer than the longest pause between attempts.
const SETTLING: Duration = Duration::from_secs(400);

/// Some homeservers on a virtual network. The same seed and the same calls repeat the same run.
pub struct World {
    seed: u64,
    runs: u64,
    random: Random,
    platform: Platform,
    servers: Vec<Server>,
}

impl World {
    /// A world with `servers` homeservers, all linked.
    ///
    /// # Panics
    /// If a homeserver does not start on an empty store.
    #[must_use]
    pub fn new(seed: u64, servers: usize) -> Self {
        Self::with_slow_commits(seed, servers, Duration::ZERO)
    }

    /// A world whose homeservers tell each other who is there. Others are spared that traffic.
    ///
    /// # Panics
    /// If a homeserver does not start on an empty store.
    #[must_use]
    pub fn with_presence(seed: u64, servers: usize) -> Self {
        Self::open(seed, servers, Duration::ZERO, true)
    }

    /// A world with `servers` homeservers, all linked, whose stores take up to `longest` to write a batch and up
    /// to as long again to say so.
    ///
    /// # Panics
    /// If a homeserver does not start on an empty store.
    #[must_use]
    pub fn with_slow_commits(seed: u64, servers: usize, longest: Duration) -> Self {
        Self::open(seed, servers, longest, false)
    }

    fn open(seed: u64, servers: usize, longest: Duration, presence: bool) -> Self {
        let clock = VirtualClock::default();
        let executor = Executor::new(clock.clone(), Random::new(seed, "executor"));
        let network = Network::new(clock.clone(), Random::new(seed, "network"), executor.clone());
        let platform = Platform {
            clock,
            executor,
            network,
            commit_delay: longest,
            presence,
        };
        let servers = (0..servers).map(|_| Server::new()).collect();
        let mut world = Self {
            seed,
            runs: 0,
            random: Random::new(seed, "world"),
            platform,
            servers,
        };
        for server in 0..world.servers.len() {
            world.start(server);
        }
        world
    }

    /// Server number `server`.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "a wrong number is a mistake in the test that has it"
    )]
    pub fn server(&self, server: usize) -> &Server {
        self.servers.get(server).expect("there is such a server")
    }

    /// How many servers there are.
    #[must_use]
    pub fn server_count(&self) -> usize {
        self.servers.len()
    }

    /// Runs everything for `duration` of virtual time.
    pub fn run_for(&self, duration: Duration) {
        self.platform.executor.run_for(duration);
    }

    /// Runs at most `count` steps: the state between any two of them is one in which a server may be killed.
    pub fn run_steps(&self, count: usize) {
        self.platform.executor.run_steps(count);
    }

    /// Lets all servers talk until everything that can be delivered is.
    pub fn settle(&self) {
        self.run_for(SETTLING);
    }

    /// Runs `future` to its end, and everything else meanwhile.
    ///
    /// # Panics
    /// If it can never end, because nobody has anything left to do.
    #[allow(clippy::expect_used, reason = "a deadlock is what a simulation is to find")]
    pub fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.platform
            .executor
            .block_on(future)
            .expect("everybody waits for somebody")
    }

    /// A random number below `bound` that follows from the seed.
    pub fn random(&self, bound: usize) -> usize {
        self.random.index(bound)
    }

    /// Milliseconds that passed since the world began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.platform.clock.elapsed()
    }

    /// From now on, who gives way amid long work does so, as in a browser. Until then such work goes on at once:
    /// a run takes fewer steps.
    pub fn take_turns(&self) {
        self.platform.clock.take_turns();
    }

    /// Cuts the link between two servers: nothing gets through, not even the answer to what did.
    pub fn cut(&self, a: usize, b: usize) {
        self.platform
            .network
            .set_cut(self.server(a).name(), self.server(b).name(), true);
    }

    /// Heals the link between two servers, and tells both that the other is there, as the real network does.
    pub fn heal(&self, a: usize, b: usize) {
        let names = (self.server(a).name(), self.server(b).name());
        self.platform.network.set_cut(names.0, names.1, false);
        self.tell_online(a, b);
        self.tell_online(b, a);
    }

    /// Lets two servers know that they are connected, which are told of no connection else.
    pub fn connect(&self, a: usize, b: usize) {
        self.platform
            .network
            .connect(self.server(a).name(), self.server(b).name());
    }

    /// Whether the link between two servers is cut.
    #[must_use]
    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        self.platform
            .network
            .is_cut(self.server(a).name(), self.server(b).name())
    }

    /// Sets how long messages take, one way.
    pub fn set_delay(&self, shortest: Duration, longest: Duration) {
        self.platform.network.set_delay(shortest, longest);
    }

    /// Makes messages between two servers take up to `delay` longer, one way; zero ends it. Where the longest
    /// delay is long, messages overtake each other.
    pub fn set_slow(&self, a: usize, b: usize, delay: Duration) {
        self.platform
            .network
            .set_slow(self.server(a).name(), self.server(b).name(), delay);
    }

    /// Sets how many messages are lost and doubled.
    pub fn set_unreliability(&self, unreliability: Unreliability) {
        self.platform.network.set_unreliability(unreliability);
    }

    /// Whether a request of one server to another is under way.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        self.platform.network.is_talking()
    }

    /// How many requests the servers made to each other so far.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.platform.network.request_count()
    }

    /// Lets `answer` answer in place of the server named `name`, which may be none of the world's: it is given
    /// the path with its query and the body of each request, and returns status and body, or `None` to leave the
    /// request to the server.
    pub fn stand_in(
        &self,
        name: &str,
        answer: impl Fn(&str, &serde_json::Value) -> Option<(u16, serde_json::Value)> + Send + Sync + 'static,
    ) {
        self.platform.network.stand_in(name, Arc::new(answer));
    }

    /// Lets `change` change the answers of the server named `name`: it is given the path with its query, and the
    /// body of the answer.
    pub fn tamper(&self, name: &str, change: impl Fn(&str, &mut serde_json::Value) + Send + Sync + 'static) {
        self.platform.network.tamper(name, Arc::new(change));
    }

    /// Everything that the servers asked each other so far.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        self.platform.network.traffic()
    }

    /// Kills a server between two steps of whatever it was doing. Its store remains.
    pub fn crash(&mut self, server: usize) {
        let name = self.server(server).name().to_owned();
        self.platform.network.detach(&name);
        if let Some(process) = self
            .servers
            .get_mut(server)
            .and_then(|server| server.process.take())
        {
            self.platform.executor.kill(process.owner);
        }
    }

    /// Starts a server that is down, from its store, and tells it and those whom it can reach of each other.
    ///
    /// # Panics
    /// If its store cannot be opened.
    #[allow(
        clippy::expect_used,
        reason = "a store that cannot be opened again is a lost homeserver"
    )]
    pub fn start(&mut self, server: usize) {
        self.runs += 1;
        let rng = Arc::new(Random::new(self.seed, &format!("run {}", self.runs)));
        let (store, lookups) = (
            self.server(server).store().clone(),
            self.server(server).counter().clone(),
        );
        let process = Process::start(store, lookups, Owner(self.runs), rng, self.platform.clone());
        let process = self.block_on(process).expect("the homeserver starts");
        if let Some(server) = self.servers.get_mut(server) {
            server.run(process);
        }
        let others = (0..self.servers.len()).filter(|other| *other != server);
        for other in others.filter(|other| !self.is_cut(server, *other)) {
            self.tell_online(other, server);
            self.tell_online(server, other);
        }
    }

    /// Crashes a server and starts it again.
    pub fn restart(&mut self, server: usize) {
        self.crash(server);
        self.start(server);
    }

    /// Registers the account `name` on a server.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn register(&self, server: usize, name: &str) -> Client {
        let body = credentials(name);
        let answer = self.request(server, "POST", "/_matrix/client/v3/register", None, Some(&body));
        let text = |key: &str| answer.expect(200)[key].as_str().unwrap_or_default().to_owned();
        Client {
            server,
            user_id: text("user_id"),
            token: text("access_token"),
        }
    }

    /// Makes the account `name` on a server, without a password: hashing one takes longer than all else here.
    ///
    /// # Panics
    /// If the server is down or refuses.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test that asks nonsense is to stop")]
    pub fn account(&self, server: usize, name: &str) -> Client {
        let homeserver = self.server(server).homeserver().expect("the server runs").clone();
        let wish = Registration {
            username: Some(name.to_owned()),
            device: Some(NewDevice::default()),
            ..Registration::default()
        };
        let account = self.block_on(async move { homeserver.register(wish).await });
        let (user_id, login) = account.expect("the account is made");
        Client {
            server,
            user_id: user_id.to_string(),
            token: login.expect("a device was asked for").tokens.access_token,
        }
    }

    /// Asks the client API of a server, with the access token `token`.
    ///
    /// # Panics
    /// If the server is down, or the request cannot be made or the answer read.
    pub fn request(
        &self,
        server: usize,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&serde_json::Value>,
    ) -> Answer {
        self.raw_request(server, client_request(method, path, token, body), Source::Client)
    }

    /// Begins to ask the client API of a server, as [`World::request`] does, and does not wait for the answer.
    /// If the server crashes first, there never is one.
    ///
    /// # Panics
    /// If the server is down, or the request cannot be made.
    #[allow(clippy::expect_used, reason = "a test that asks nonsense is to stop")]
    pub fn begin(
        &self,
        server: usize,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&serde_json::Value>,
    ) -> Pending {
        let request = client_request(method, path, token, body);
        let asked = format!("{method} {path}");
        let process = self.server(server).process.as_ref().expect("the server runs");
        let api = process.api.clone();
        let (done, answer) = oneshot::channel();
        let task = async move {
            if let Some((status, body)) = read(api.handle(request, Source::Client).await).await {
                // The test may have lost interest.
                let _ = done.send(Answer { asked, status, body });
            }
        };
        self.platform.executor.spawn(process.owner, Box::pin(task));
        Pending { answer, lost: false }
    }

    /// Asks a server whatever one likes.
    ///
    /// # Panics
    /// If the server is down or its answer cannot be read.
    #[allow(clippy::expect_used, reason = "a test that asks nonsense is to stop")]
    pub fn raw_request(&self, server: usize, request: Request<Body>, source: Source) -> Answer {
        let asked = format!("{} {}", request.method(), request.uri());
        let api = self.server(server).api().expect("the server runs").clone();
        let answer = self.block_on(async move { read(api.handle(request, source).await).await });
        let (status, body) = answer.expect("the answer is JSON");
        Answer { asked, status, body }
    }

    fn tell_online(&self, server: usize, other: usize) {
        let (server, other) = (self.server(server), self.server(other));
        let Some(homeserver) = server.homeserver().filter(|_| other.homeserver().is_some()) else {
            return;
        };
        if let Ok(name) = other.name().try_into() {
            homeserver.peer_online(name);
        }
    }
}

/// An answer that may come.
pub struct Pending {
    answer: oneshot::Receiver<Answer>,
    lost: bool,
}

impl Pending {
    /// The answer, if it has come and was not taken yet.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.answer.try_recv();
        self.lost = answer.is_err();
        answer.ok().flatten()
    }

    /// Whether it was seen that there is no answer to come: the server has crashed, or the answer was taken.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }
}

#[allow(clippy::expect_used, reason = "a test that asks nonsense is to stop")]
fn client_request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&serde_json::Value>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    request.body(body).expect("the request is well-formed")
}
