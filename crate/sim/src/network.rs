//! The network between the servers: links that take time, lose and double messages, and that can be cut.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::channel::oneshot;
use hearth_api::{Api, Body, Source};
use hearth_homeserver::{Clock, Federation, FederationError};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use serde_json::Value;

use crate::{
    clock::VirtualClock,
    executor::{Executor, NOBODY, Owner},
    random::Random,
    visits,
};

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How long a caller waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The latest that a double of a request arrives.
const LATEST_DOUBLE: Duration = Duration::from_secs(20);

/// How unreliable every link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreliability {
    /// Of a thousand messages (requests and answers are one each), how many are lost: the sender learns so only
    /// from its own patience.
    pub lost: usize,
    /// Of a thousand requests, how many arrive a second time, up to 20 seconds later.
    pub doubled: usize,
}

/// One request that crossed the network, for assertions on what servers say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Who asked.
    pub from: String,
    /// Who was asked.
    pub to: String,
    /// The method and the path with its query.
    pub request: String,
    /// The status of the answer; `None` if none came back.
    pub status: Option<u16>,
}

/// What answers in place of a server: the path with its query and the body of a request, to a status and a body.
/// `None` leaves the request to the server.
pub(crate) type StandIn = Arc<dyn Fn(&str, &Value) -> Option<(u16, Value)> + Send + Sync>;
/// What changes the answers of a server: the path with its query, and the body of the answer.
pub(crate) type Tampering = Arc<dyn Fn(&str, &mut Value) + Send + Sync>;

/// The network. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    clock: VirtualClock,
    random: Random,
    executor: Executor,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    servers: HashMap<String, (Owner, Api)>,
    cut: BTreeSet<(String, String)>,
    /// Links that servers know to work. They are told of none unless a test says so.
    connected: BTreeSet<(String, String)>,
    delay: (Duration, Duration),
    /// Links on which messages take longer, and by how much at most.
    slow: BTreeMap<(String, String), Duration>,
    unreliability: Unreliability,
    /// How many requests are under way.
    open: usize,
    traffic: Vec<Traffic>,
    stand_ins: HashMap<String, StandIn>,
    tampering: HashMap<String, Tampering>,
}

impl Network {
    pub(crate) fn new(clock: VirtualClock, random: Random, executor: Executor) -> Self {
        let delay = (Duration::from_millis(1), Duration::from_millis(20));
        let links = Mutex::new(Links {
            delay,
            ..Links::default()
        });
        Self {
            shared: Arc::new(Shared {
                clock,
                random,
                executor,
                links,
            }),
        }
    }

    /// The network as `server` uses it.
    pub(crate) fn of(&self, server: &str) -> Arc<dyn Federation> {
        Arc::new(Uplink {
            server: server.to_owned(),
            network: self.clone(),
        })
    }

    /// From now on requests to `server` are answered by `api`, in tasks of `owner`.
    pub(crate) fn attach(&self, server: &str, owner: Owner, api: Api) {
        self.links().servers.insert(server.to_owned(), (owner, api));
    }

    /// From now on nobody answers for `server`.
    pub(crate) fn detach(&self, server: &str) {
        self.links().servers.remove(server);
    }

    /// Cuts or heals the link between two servers.
    pub(crate) fn set_cut(&self, a: &str, b: &str, cut: bool) {
        let link = link(a, b);
        let mut links = self.links();
        if cut {
            links.cut.insert(link);
        } else {
            links.cut.remove(&link);
        }
    }

    /// Lets two servers know that they are connected.
    pub(crate) fn connect(&self, a: &str, b: &str) {
        self.links().connected.insert(link(a, b));
    }

    /// Whether the link between two servers is cut.
    pub(crate) fn is_cut(&self, a: &str, b: &str) -> bool {
        self.links().cut.contains(&link(a, b))
    }

    /// How long a message may take, one way.
    pub(crate) fn set_delay(&self, shortest: Duration, longest: Duration) {
        self.links().delay = (shortest, longest.max(shortest));
    }

    /// From now on messages between two servers may take up to `delay` longer; not at all if that is zero.
    pub(crate) fn set_slow(&self, a: &str, b: &str, delay: Duration) {
        self.links().slow.insert(link(a, b), delay);
    }

    /// From now on messages are lost and doubled at these rates.
    pub(crate) fn set_unreliability(&self, unreliability: Unreliability) {
        self.links().unreliability = unreliability;
    }

    /// Whether a request is under way.
    pub(crate) fn is_talking(&self) -> bool {
        self.links().open > 0
    }

    /// How many requests were made so far.
    pub(crate) fn request_count(&self) -> usize {
        self.links().traffic.len()
    }

    /// From now on `stand_in` answers in place of `server` what it likes to.
    pub(crate) fn stand_in(&self, server: &str, stand_in: StandIn) {
        self.links().stand_ins.insert(server.to_owned(), stand_in);
    }

    /// From now on the answers of `server` are changed by `tampering`.
    pub(crate) fn tamper(&self, server: &str, tampering: Tampering) {
        self.links().tampering.insert(server.to_owned(), tampering);
    }

    fn stood_in(&self, server: &str, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        let stand_in = self.links().stand_ins.get(server).cloned()?;
        let body = serde_json::from_slice(request.body()).unwrap_or_default();
        let (status, answer) = stand_in(&request.uri().to_string(), &body)?;
        let answer = Response::builder().status(status).body(answer.to_string().into());
        answer.ok()
    }

    fn tampered(&self, server: &str, uri: &str, answer: Response<Bytes>) -> Response<Bytes> {
        let Some(tampering) = self.links().tampering.get(server).cloned() else {
            return answer;
        };
        let Ok(mut body) = serde_json::from_slice(answer.body()) else {
            return answer;
        };
        tampering(uri, &mut body);
        answer.map(|_| body.to_string().into())
    }

    /// Everything that was asked so far.
    pub(crate) fn traffic(&self) -> Vec<Traffic> {
        self.links().traffic.clone()
    }

    async fn exchange(
        &self,
        from: &str,
        to: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, FederationError> {
        self.travel(from, to).await?;
        if let Some(answer) = self.stood_in(to, &request) {
            self.travel(to, from).await?;
            return Ok(answer);
        }
        let uri = request.uri().to_string();
        if self.happens(|rates| rates.doubled) {
            self.deliver_again(to, request.clone());
        }
        let answer = self.deliver(to, request).ok_or(FederationError::Unreachable)?;
        let answer = answer.await.map_err(|_| FederationError::Unreachable)??;
        self.travel(to, from).await?;
        Ok(self.tampered(to, &uri, answer))
    }

    /// Hands `request` to the server `to`; `None` if nobody answers for it.
    fn deliver(&self, to: &str, request: Request<Bytes>) -> Option<oneshot::Receiver<Answered>> {
        let (owner, api) = self.links().servers.get(to).cloned()?;
        let (done, answer) = oneshot::channel();
        let serve = async move {
            // Nobody waits for the answer any more if the caller crashed.
            let _ = done.send(answer_of(&api, request).await);
        };
        self.shared.executor.spawn(owner, Box::pin(serve));
        Some(answer)
    }

    /// Hands `request` to the server `to` once more, some time later. Nobody waits for that answer.
    fn deliver_again(&self, to: &str, request: Request<Bytes>) {
        let later = self.shared.clock.sleep(self.random_below(LATEST_DOUBLE));
        let (network, to) = (self.clone(), to.to_owned());
        let again = async move {
            later.await;
            drop(network.deliver(&to, request));
        };
        self.shared.executor.spawn(NOBODY, Box::pin(again));
    }

    /// Takes the time of the way; fails if the link is cut then, and never ends if the message is lost.
    async fn travel(&self, from: &str, to: &str) -> Result<(), FederationError> {
        let (shortest, longest, slow) = {
            let links = self.links();
            let slow = links.slow.get(&link(from, to)).copied().unwrap_or_default();
            (links.delay.0, links.delay.1, slow)
        };
        let delay = shortest + self.random_below(longest - shortest + slow);
        self.shared.clock.sleep(delay).await;
        if self.is_cut(from, to) {
            return Err(FederationError::Unreachable);
        }
        if self.happens(|rates| rates.lost) {
            return futures::future::pending().await;
        }
        Ok(())
    }

    fn random_below(&self, longest: Duration) -> Duration {
        let span = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.shared.random.below(span.saturating_add(1)))
    }

    /// Whether a thing happens now that happens to some of a thousand messages. No randomness is used for what
    /// never happens.
    fn happens(&self, rate: impl Fn(&Unreliability) -> usize) -> bool {
        let rate = rate(&self.links().unreliability) as u64;
        rate > 0 && self.shared.random.below(1000) < rate
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.shared.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a request.
type Answered = Result<Response<Bytes>, FederationError>;

async fn answer_of(api: &Api, request: Request<Bytes>) -> Answered {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = api.handle(request.map(Body::from), Source::Federation).await;
    let (parts, body) = answer.into_parts();
    visits::note(&method, &path, parts.status);
    let body = body
        .collect(MAX_ANSWER)
        .await
        .map_err(|error| FederationError::Protocol(error.to_string()))?;
    Ok(Response::from_parts(parts, body))
}

fn link(a: &str, b: &str) -> (String, String) {
    (a.min(b).to_owned(), a.max(b).to_owned())
}

/// One server's way into the network.
struct Uplink {
    server: String,
    network: Network,
}

impl Federation for Uplink {
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        Box::pin(async move {
            let _open = Open::new(&self.network);
            let asked = format!("{} {}", request.method(), request.uri());
            let exchange = Box::pin(self.network.exchange(&self.server, destination, request));
            let timeout = self.network.shared.clock.sleep(TIMEOUT);
            let answer = match futures::future::select(exchange, timeout).await {
                futures::future::Either::Left((answer, _)) => answer,
                futures::future::Either::Right(_) => Err(FederationError::Timeout),
            };
            self.network.links().traffic.push(Traffic {
                from: self.server.clone(),
                to: destination.to_owned(),
                request: asked,
                status: answer.as_ref().ok().map(|answer| answer.status().as_u16()),
            });
            answer
        })
    }

    fn connected(&self) -> Vec<String> {
        let links = self.network.links();
        let ends = links.connected.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
        let others = ends.filter(|(own, _)| **own == self.server);
        others.map(|(_, other)| other.clone()).collect()
    }
}

/// A request that is under way, until this is dropped.
struct Open(Network);

impl Open {
    fn new(network: &Network) -> Self {
        network.links().open += 1;
        Self(network.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.links().open -= 1;
    }
}
