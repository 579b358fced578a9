//! What guests, suspended and locked accounts may ask for. Spec: Client-Server API, sections 'Guest Access', 'Account
//! suspension' and 'Account locking'.

use hearth_homeserver::{Error, Homeserver, accounts::Session};
use http::Method;

use crate::router::Route;

/// What begins every path below.
const CLIENT: &str = "/_matrix/client/v3/";
/// What begins paths of profiles as they were called before (MSC4133).
const PROFILES: &str = "/_matrix/client/unstable/uk.tcpip.msc4133/";

/// What a guest may ask for, beside all that is read with `GET` here. Paths are relative to [`CLIENT`].
const FOR_GUESTS: &[(&str, &str)] = &[
    ("GET", "account/whoami"),
    ("GET", "capabilities"),
    ("GET", "devices"),
    ("GET", "devices/{deviceId}"),
    ("PUT", "devices/{deviceId}"),
    ("POST", "join/{roomIdOrAlias}"),
    ("GET", "events"),
    ("GET", "joined_rooms"),
    ("GET", "keys/changes"),
    ("POST", "keys/claim"),
    ("POST", "keys/query"),
    ("POST", "keys/upload"),
    ("POST", "logout"),
    ("POST", "logout/all"),
    ("PUT", "profile/{userId}/{keyName}"),
    ("POST", "publicRooms"),
    ("GET", "pushrules/"),
    ("GET", "rooms/{roomId}/context/{eventId}"),
    ("GET", "rooms/{roomId}/event/{eventId}"),
    ("GET", "rooms/{roomId}/initialSync"),
    ("POST", "rooms/{roomId}/join"),
    ("GET", "rooms/{roomId}/joined_members"),
    ("POST", "rooms/{roomId}/leave"),
    ("GET", "rooms/{roomId}/members"),
    ("GET", "rooms/{roomId}/messages"),
    ("POST", "rooms/{roomId}/receipt/{receiptType}/{eventId}"),
    ("PUT", "rooms/{roomId}/send/{eventType}/{txnId}"),
    ("GET", "rooms/{roomId}/state"),
    ("GET", "rooms/{roomId}/state/{eventType}"),
    ("GET", "rooms/{roomId}/state/{eventType}/"),
    ("GET", "rooms/{roomId}/state/{eventType}/{stateKey}"),
    ("PUT", "rooms/{roomId}/state/{eventType}"),
    ("PUT", "rooms/{roomId}/state/{eventType}/"),
    ("PUT", "rooms/{roomId}/state/{eventType}/{stateKey}"),
    ("PUT", "rooms/{roomId}/typing/{userId}"),
    ("PUT", "sendToDevice/{eventType}/{txnId}"),
    ("GET", "sync"),
    ("GET", "user/{userId}/account_data/{type}"),
    ("POST", "user/{userId}/filter"),
    ("GET", "user/{userId}/filter/{filterId}"),
    ("GET", "voip/turnServer"),
];

/// What a suspended account may not ask for: whatever others would see. It still reads, leaves and redacts what it has
/// said itself.
const NOT_WHEN_SUSPENDED: &[(&str, &str)] = &[
    ("POST", "createRoom"),
    ("PUT", "directory/list/room/{roomId}"),
    ("PUT", "directory/room/{roomAlias}"),
    ("DELETE", "directory/room/{roomAlias}"),
    ("POST", "join/{roomIdOrAlias}"),
    ("POST", "knock/{roomIdOrAlias}"),
    ("PUT", "profile/{userId}"),
    ("PATCH", "profile/{userId}"),
    ("PUT", "profile/{userId}/{keyName}"),
    ("DELETE", "profile/{userId}/{keyName}"),
    ("POST", "rooms/{roomId}/ban"),
    ("POST", "rooms/{roomId}/invite"),
    ("POST", "rooms/{roomId}/join"),
    ("POST", "rooms/{roomId}/kick"),
    ("PUT", "rooms/{roomId}/send/{eventType}/{txnId}"),
    ("PUT", "rooms/{roomId}/state/{eventType}"),
    ("PUT", "rooms/{roomId}/state/{eventType}/"),
    ("PUT", "rooms/{roomId}/state/{eventType}/{stateKey}"),
    ("PUT", "rooms/{roomId}/typing/{userId}"),
    ("POST", "rooms/{roomId}/unban"),
    ("POST", "rooms/{roomId}/upgrade"),
];

/// What ends sessions: all that a locked account may ask for, and for what an access token is good enough that has expired, as
/// in Synapse.
const ENDS_SESSION: &[(&str, &str)] = &[("POST", "logout"), ("POST", "logout/all")];

/// Checks that `session` may call `route`.
///
/// # Errors
/// [`Error::UserLocked`], [`Error::GuestForbidden`], [`Error::UserSuspended`].
pub(crate) fn check(homeserver: &Homeserver, session: &Session, route: &Route) -> Result<(), Error> {
    let standing = homeserver.standing(&session.user_id);
    if standing.locked && !ends_session(route) {
        return Err(Error::UserLocked);
    }
    if standing.guest && !is_listed(FOR_GUESTS, route) && !is_media(route) {
        return Err(Error::GuestForbidden("guests may not do this".into()));
    }
    if standing.suspended && is_listed(NOT_WHEN_SUSPENDED, route) {
        return Err(Error::UserSuspended);
    }
    Ok(())
}

/// Whether the route ends sessions.
pub(crate) fn ends_session(route: &Route) -> bool {
    is_listed(ENDS_SESSION, route)
}

/// Whether the route shows files.
fn is_media(route: &Route) -> bool {
    route.method == Method::GET && route.path.starts_with("/_matrix/client/v1/media/")
}

fn is_listed(list: &[(&str, &str)], route: &Route) -> bool {
    let prefixes = [CLIENT, PROFILES];
    let Some(path) = prefixes.iter().find_map(|prefix| route.path.strip_prefix(prefix)) else {
        return false;
    };
    list.iter()
        .any(|(method, listed)| route.method == *method && *listed == path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::router;

    #[test]
    fn what_is_listed_is_served() {
        for (method, path) in [FOR_GUESTS, NOT_WHEN_SUSPENDED, ENDS_SESSION].concat() {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = format!("{CLIENT}{path}");
            let (route, _) = router::find(&method, &path).ok().unwrap();
            assert_eq!(route.path, path);
        }
    }
}
