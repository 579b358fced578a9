//! Credentials for a TURN server, through which calls go that find no other way. Spec: Client-Server API, section
//! 'Voice over IP'.
//!
//! Server and homeserver share a secret and never talk to each other: the user name says until when it may be used, and
//! the password is its MAC (draft-uberti-behave-turn-rest-00; coturn's `use-auth-secret`).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use ruma_common::UserId;
use serde::Serialize;
use sha1::Sha1;

use crate::Homeserver;

/// How long credentials may be used.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A TURN server.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its addresses, as `turn:` or `turns:` URIs.
    pub uris: Vec<String>,
    /// What it knows besides the homeserver.
    pub secret: Vec<u8>,
}

/// What a client shows a TURN server: the fields of `GET /voip/turnServer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TurnCredentials {
    /// The user name: when it ends, in seconds since 1970, and whose it is.
    pub username: String,
    /// The password that belongs to it.
    pub password: String,
    /// The addresses of the server.
    pub uris: Vec<String>,
    /// For how many seconds they may be used.
    pub ttl: u64,
}

impl Homeserver {
    /// Credentials for `user_id`; `None` if there is no TURN server.
    pub fn turn_credentials(&self, user_id: &UserId) -> Option<TurnCredentials> {
        let turn = self.config.turn.as_ref()?;
        let end = self.now() / 1000 + LIFETIME.as_secs();
        let username = format!("{end}:{user_id}");
        Some(TurnCredentials {
            password: turn.password(&username)?,
            username,
            uris: turn.uris.clone(),
            ttl: LIFETIME.as_secs(),
        })
    }
}

impl Turn {
    fn password(&self, username: &str) -> Option<String> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).ok()?;
        mac.update(username.as_bytes());
        Some(STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector is of RFC 2202, section 3, test case 2.
    #[test]
    fn a_password_is_the_mac_of_the_name() {
        let turn = Turn {
            uris: Vec::new(),
            secret: b"Jefe".to_vec(),
        };
        let mac = hex::decode("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79").ok();
        assert_eq!(
            turn.password("what do ya want for nothing?"),
            mac.map(|mac| STANDARD.encode(mac))
        );
    }
}
