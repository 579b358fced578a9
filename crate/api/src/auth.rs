//! Who is asking: access tokens of users. Spec: Client-Server API, section 'Client Authentication'.

use hearth_homeserver::{Homeserver, accounts::Session};
use http::{HeaderMap, header::AUTHORIZATION};

use crate::{error::ApiError, query::Query};

/// The session whose access token the request carries. If it is `to_end` that, the token may have expired.
///
/// # Errors
/// `M_MISSING_TOKEN` without a token, `M_UNKNOWN_TOKEN` if nobody has it.
pub(crate) fn session(
    homeserver: &Homeserver,
    headers: &HeaderMap,
    query: &Query,
    to_end: bool,
) -> Result<Session, ApiError> {
    let token = bearer(headers)
        .or_else(|| query.get("access_token"))
        .ok_or_else(ApiError::missing_token)?;
    Ok(match to_end {
        true => homeserver.session_to_end(token)?,
        false => homeserver.session(token)?,
    })
}

/// The session whose access token the request carries, if it carries one.
///
/// # Errors
/// `M_UNKNOWN_TOKEN` if nobody has the token.
pub(crate) fn optional_session(
    homeserver: &Homeserver,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Option<Session>, ApiError> {
    match bearer(headers).or_else(|| query.get("access_token")) {
        Some(token) => Ok(Some(homeserver.session(token)?)),
        None => Ok(None),
    }
}

/// The token in the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
