//! The one entrance: a request comes in, an answer goes out.

use std::sync::Arc;

use hearth_homeserver::{Error, Homeserver};
use http::{HeaderMap, Method, Request, Response, Uri, header::AUTHORIZATION, uri::PathAndQuery};
use serde::de::IgnoredAny;

use crate::{
    Body,
    answer::Outcome,
    auth,
    call::{Call, MAX_BODY, ServerCall},
    client::interactive::Sessions,
    client_address::ClientAddress,
    cors,
    error::ApiError,
    query::Query,
    rate_limit::{RateLimit, RateLimiter},
    router::{self, Handler, Route},
    standing,
};

/// The most bytes that the body of a request of another homeserver may have: 50 PDUs and 100 EDUs fit.
pub(crate) const MAX_FEDERATION_BODY: usize = 8 * 1024 * 1024;

/// The URL under which whoever sent a request with such headers reaches this API, without a slash at the end.
pub type BaseUrl = Box<dyn Fn(&HeaderMap) -> Option<String> + Send + Sync>;

/// Settings of the API.
#[derive(Default)]
pub struct ApiConfig {
    /// For `/.well-known/matrix/client`, which is 404 without it.
    pub base_url: Option<BaseUrl>,
    /// The rate limit of sign-in and writes for each user, and for each address of who is none yet; `None` for no
    /// limit.
    pub rate_limit: Option<RateLimit>,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client, or an HTTP connection of any kind.
    Client,
    /// A federation channel. Only what homeservers ask of each other is served to it.
    Federation,
}

/// The Matrix API of one homeserver. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    homeserver: Arc<Homeserver>,
    config: ApiConfig,
    rate_limiter: RateLimiter,
    interactive: Sessions,
}

impl Api {
    /// The API of `homeserver`.
    pub fn new(homeserver: Arc<Homeserver>, config: ApiConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                homeserver,
                config,
                rate_limiter: RateLimiter::default(),
                interactive: Sessions::default(),
            }),
        }
    }

    /// Answers `request`. Whatever is wrong with it, the answer says so as the Matrix specification asks. `HEAD` is answered
    /// as `GET`, without the body (RFC 9110, section 9.3.2).
    pub async fn handle(&self, mut request: Request<Body>, source: Source) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        if is_head {
            *request.method_mut() = Method::GET;
        }
        let mut answer = match self.dispatch(request, source).await {
            Ok(answer) => answer,
            Err(error) => error.into_answer(),
        };
        if is_head {
            *answer.body_mut() = Body::empty();
        }
        cors::allow_all_origins(answer.headers_mut());
        answer
    }

    pub(crate) fn homeserver(&self) -> &Arc<Homeserver> {
        &self.shared.homeserver
    }

    /// The sessions of User-Interactive Authentication.
    pub(crate) fn interactive(&self) -> &Sessions {
        &self.shared.interactive
    }

    pub(crate) fn config(&self) -> &ApiConfig {
        &self.shared.config
    }

    async fn dispatch(&self, request: Request<Body>, source: Source) -> Outcome {
        let (parts, body) = request.into_parts();
        if source == Source::Federation && !is_for_servers(parts.uri.path()) {
            return Err(ApiError::unrecognized());
        }
        if parts.method == Method::OPTIONS {
            return Ok(cors::preflight());
        }
        let (route, params) = router::find(&parts.method, parts.uri.path())?;
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let call = Call {
            api: self.clone(),
            requester: (),
            params,
            query,
            headers: parts.headers,
            body,
        };
        let address = parts.extensions.get().copied();
        self.run(route, call, &parts.uri, address).await
    }

    async fn run(
        &self,
        route: &'static Route,
        call: Call<()>,
        uri: &Uri,
        address: Option<ClientAddress>,
    ) -> Outcome {
        match route.handler {
            Handler::Public(endpoint) => {
                self.limit(route, &anonymous_key(route, address))?;
                endpoint(call).await
            }
            Handler::User(endpoint) => {
                let session = auth::session(
                    self.homeserver(),
                    &call.headers,
                    &call.query,
                    standing::ends_session(route),
                )?;
                standing::check(self.homeserver(), &session, route)?;
                self.limit(route, session.user_id.as_str())?;
                let ip = address.map(|ClientAddress(ip)| ip.to_string());
                self.homeserver().note_seen(&session, ip);
                endpoint(call.made_by(session)).await
            }
            Handler::Server(endpoint) => {
                let call = self.signed(&route.method, call, uri).await?;
                self.limit(route, call.requester.as_str())?;
                endpoint(call).await
            }
        }
    }

    /// Reads the body and checks the signature of another homeserver over the whole request.
    async fn signed(&self, method: &Method, call: Call<()>, uri: &Uri) -> Result<ServerCall, ApiError> {
        let authorization: Vec<&str> = call
            .headers
            .get_all(AUTHORIZATION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let bytes = call.body.collect(MAX_FEDERATION_BODY).await?;
        let uri = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let origin = self
            .homeserver()
            .authenticate(method, uri, &authorization, &bytes);
        let origin = origin.map_err(|error| match error {
            Error::BadJson(_) if serde_json::from_slice::<IgnoredAny>(&bytes).is_err() => {
                ApiError::not_json("The body is not JSON")
            }
            error => error.into(),
        })?;
        let Call {
            api,
            params,
            query,
            headers,
            ..
        } = call;
        Ok(Call {
            api,
            requester: origin,
            params,
            query,
            headers,
            body: bytes.into(),
        })
    }

    /// Counts a call of `key` to `route`.
    fn limit(&self, route: &Route, key: &str) -> Result<(), ApiError> {
        let Some(limit) = self.config().rate_limit.filter(|_| route.limited) else {
            return Ok(());
        };
        let now = self.homeserver().now();
        self.shared
            .rate_limiter
            .take(limit, key, now)
            .map_err(ApiError::limit_exceeded)
    }
}

/// What a call to `route` is counted under if nobody says who makes it: where it comes from, and which API it is for, so
/// that pictures use up nobody's logins. No user id and no server name has a space.
fn anonymous_key(route: &Route, address: Option<ClientAddress>) -> String {
    let api = route.path.split('/').nth(2).unwrap_or_default();
    let network = address.map(|address| address.network().to_string());
    format!("{api} {}", network.unwrap_or_default())
}

/// Whether the answer to a request need not be finished if nobody waits for it: what changes something runs to its end. A
/// sliding sync does not, though it is a `POST`: it would go on noting what its client was told.
pub fn may_be_abandoned(method: &Method, path: &str) -> bool {
    method.is_safe() || (method == Method::POST && path.ends_with("/sync"))
}

/// The most bytes of the body of a request for `path` that are held in memory; a longer one is refused. None are of
/// files, which are stored as they come.
pub fn longest_body(path: &str) -> usize {
    match path {
        path if path.starts_with("/_matrix/media/") => 0,
        path if is_for_servers(path) => MAX_FEDERATION_BODY,
        _ => MAX_BODY,
    }
}

/// Whether `path` is one that homeservers ask of each other.
fn is_for_servers(path: &str) -> bool {
    path.starts_with("/_matrix/federation/") || path.starts_with("/_matrix/key/")
}

#[cfg(test)]
mod tests {
    use super::{Method, may_be_abandoned};

    #[test]
    fn what_nobody_waits_for_runs_to_its_end_if_it_changes_something() {
        assert!(may_be_abandoned(&Method::GET, "/_matrix/client/v3/sync"));
        let sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
        assert!(may_be_abandoned(&Method::POST, sliding));
        assert!(!may_be_abandoned(&Method::POST, "/_matrix/client/v3/createRoom"));
        // A transaction may be called so.
        assert!(!may_be_abandoned(
            &Method::PUT,
            "/_matrix/client/v3/rooms/!r/send/m.room.message/sync"
        ));
    }
}
