//! Which endpoint serves a path and method.
//!
//! The router matches the path as it came, still percent-encoded, so an encoded slash never splits a segment;
//! parameters are decoded once, afterwards. The tables of routes stand beside the endpoints they name.

use std::{borrow::Cow, sync::LazyLock};

use hearth_storage::BoxFuture;
use http::Method;

use crate::{
    answer::Outcome,
    call::{Params, PublicCall, ServerCall, UserCall},
    client,
    error::ApiError,
    query,
};

/// One endpoint.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) handler: Handler,
    /// Whether calls count against the rate limit.
    pub(crate) limited: bool,
}

/// What an endpoint runs, by who may call it.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Anybody.
    Public(fn(PublicCall) -> BoxFuture<'static, Outcome>),
    /// A logged-in user.
    User(fn(UserCall) -> BoxFuture<'static, Outcome>),
    /// Another homeserver.
    Server(fn(ServerCall) -> BoxFuture<'static, Outcome>),
}

impl Route {
    pub(crate) const fn get(path: &'static str, handler: Handler) -> Self {
        Self {
            method: Method::GET,
            path,
            handler,
            limited: false,
        }
    }

    pub(crate) const fn post(path: &'static str, handler: Handler) -> Self {
        Self {
            method: Method::POST,
            path,
            handler,
            limited: false,
        }
    }

    pub(crate) const fn put(path: &'static str, handler: Handler) -> Self {
        Self {
            method: Method::PUT,
            path,
            handler,
            limited: false,
        }
    }

    pub(crate) const fn patch(path: &'static str, handler: Handler) -> Self {
        Self {
            method: Method::PATCH,
            path,
            handler,
            limited: false,
        }
    }

    pub(crate) const fn delete(path: &'static str, handler: Handler) -> Self {
        Self {
            method: Method::DELETE,
            path,
            handler,
            limited: false,
        }
    }

    /// The same route, counted against the rate limit.
    pub(crate) const fn limited(mut self) -> Self {
        self.limited = true;
        self
    }
}

/// A [`Handler`] that runs an async function for anybody.
macro_rules! public {
    ($function:expr) => {
        $crate::router::Handler::Public(|call| Box::pin($function(call)))
    };
}

/// A [`Handler`] that runs an async function for a logged-in user.
macro_rules! user {
    ($function:expr) => {
        $crate::router::Handler::User(|call| Box::pin($function(call)))
    };
}

/// A [`Handler`] that runs an async function for another homeserver.
macro_rules! server {
    ($function:expr) => {
        $crate::router::Handler::Server(|call| Box::pin($function(call)))
    };
}

pub(crate) use {public, server, user};

/// Every route that is served: method and path, with parameters as `{name}`.
pub fn routes() -> impl Iterator<Item = (Method, &'static str)> {
    ROUTER
        .routes
        .iter()
        .map(|route| (route.method.clone(), route.path))
}

/// The older prefixes of paths under which the routes of a newer prefix are served too.
pub fn aliases() -> impl Iterator<Item = &'static str> {
    ALIASES.iter().map(|(old, _)| *old)
}

/// What the request for `method` and `path` is listed as among [`routes`] and [`aliases`]: its method and path with
/// parameters as `{name}`, under the prefix that it came with. `None` if nothing serves it.
pub fn route_of(method: &Method, path: &str) -> Option<String> {
    let (route, _) = find(method, path).ok()?;
    let alias = ALIASES.iter().find(|(old, _)| path.starts_with(old));
    let rest = alias.and_then(|(old, new)| Some((old, route.path.strip_prefix(new)?)));
    Some(match rest {
        Some((old, rest)) => format!("{method} {old}{rest}"),
        None => format!("{method} {}", route.path),
    })
}

/// The route for `method` and `path`, and the decoded parameters of the path.
///
/// # Errors
/// 404 or 405 `M_UNRECOGNIZED`, or `M_INVALID_PARAM` if a parameter is badly encoded.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, Params), ApiError> {
    let path = canonical(path);
    let found = ROUTER.paths.at(&path).map_err(|_| ApiError::unrecognized())?;
    let mut routes = found.value.iter().filter_map(|index| ROUTER.routes.get(*index));
    let route = routes
        .find(|route| route.method == *method)
        .ok_or_else(ApiError::method_not_allowed)?;
    let params = found
        .params
        .iter()
        .map(|(key, value)| Ok((key, query::decode(value)?)));
    Ok((route, Params(params.collect::<Result<_, ApiError>>()?)))
}

/// Older prefixes of paths that are served under the newer one.
const ALIASES: [(&str, &str); 4] = [
    ("/_matrix/client/r0/", "/_matrix/client/v3/"),
    // Where relations were before they were specified, and matrix-bot-sdk asks for them.
    ("/_matrix/client/unstable/rooms/", "/_matrix/client/v1/rooms/"),
    ("/_matrix/media/r0/", "/_matrix/media/v3/"),
    ("/_matrix/media/v1/upload", "/_matrix/media/v3/upload"),
];

/// `path` under its newest prefix.
fn canonical(path: &str) -> Cow<'_, str> {
    let alias = ALIASES
        .iter()
        .find_map(|(old, new)| Some((new, path.strip_prefix(old)?)));
    alias.map_or(Cow::Borrowed(path), |(new, rest)| {
        Cow::Owned(format!("{new}{rest}"))
    })
}

struct Router {
    routes: Vec<Route>,
    /// The places in `routes` of the routes of each path.
    paths: matchit::Router<Vec<usize>>,
}

static ROUTER: LazyLock<Router> =
    LazyLock::new(|| Router::new(client::routes().chain(crate::server::routes())));

impl Router {
    fn new(routes: impl Iterator<Item = Route>) -> Self {
        let routes: Vec<Route> = routes.collect();
        let mut paths = matchit::Router::<Vec<usize>>::new();
        let mut known: Vec<(&str, Vec<usize>)> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            match known.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, indices)) => indices.push(index),
                None => known.push((route.path, vec![index])),
            }
        }
        for (path, indices) in known {
            if let Err(error) = paths.insert(path, indices) {
                // The tables are constant: a test inserts them all and fails here.
                debug_assert!(false, "{path}: {error}");
                tracing::error!(path, %error, "a route cannot be served");
            }
        }
        Self { routes, paths }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_found_under_its_own_path() {
        for (method, path) in routes() {
            let (route, _) = find(&method, path).ok().unwrap();
            assert_eq!((&route.method, route.path), (&method, path));
        }
    }

    #[test]
    fn no_route_stands_twice() {
        let mut seen = HashSet::new();
        for route in routes() {
            assert!(seen.insert(route.clone()), "{route:?}");
        }
    }

    #[test]
    fn an_encoded_slash_stays_in_its_segment() {
        let path = "/_matrix/client/v3/rooms/!a%2Fb/state/m%2fx/c";
        let (_, params) = find(&Method::GET, path).ok().unwrap();
        assert_eq!(
            params
                .0
                .iter()
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>(),
            ["!a/b", "m/x", "c"]
        );
    }

    #[test]
    fn older_prefixes_lead_to_the_same_route() {
        let (route, _) = find(&Method::GET, "/_matrix/client/r0/sync").ok().unwrap();
        assert_eq!(route.path, "/_matrix/client/v3/sync");
        let path = "/_matrix/client/unstable/rooms/!a/relations/$b/m.annotation";
        let (route, _) = find(&Method::GET, path).ok().unwrap();
        assert_eq!(
            route.path,
            "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}"
        );
    }

    #[test]
    fn requests_are_named_after_their_routes() {
        let name = |path| route_of(&Method::GET, path);
        assert_eq!(
            name("/_matrix/client/r0/rooms/!a/event/$b").as_deref(),
            Some("GET /_matrix/client/r0/rooms/{roomId}/event/{eventId}")
        );
        assert_eq!(name("/_matrix/client/v3/nothing"), None);
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        let status = |method: Method, path: &str| find(&method, path).err().unwrap().status().as_u16();
        assert_eq!(status(Method::GET, "/_matrix/client/v3/nothing"), 404);
        assert_eq!(status(Method::GET, "/"), 404);
        assert_eq!(status(Method::DELETE, "/_matrix/client/v3/sync"), 405);
        assert_eq!(status(Method::GET, "/_matrix/client/v3/rooms/%zz/state"), 400);
    }
}
