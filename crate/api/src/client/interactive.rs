//! User-Interactive Authentication. Spec: Client-Server API, section of that name.
//!
//! An endpoint that needs it calls [`confirm`] (the user proves who they are) or [`dummy`] (anybody may). Every flow
//! has one stage, and a request may bring the whole proof at once. What is remembered between the requests of a
//! client is which operation a session is for and whether its stage was gone through, so that a client may then send
//! the session alone. A session is kept for a quarter of an hour and in memory: after a restart the client is asked
//! again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma_common::UserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Api, error::ApiError};

const DUMMY: &str = "m.login.dummy";
const PASSWORD: &str = "m.login.password";
/// The kind of identifier that is a user id or its local part.
const USER: &str = "m.id.user";
/// Bytes of randomness in a session id.
const SESSION_BYTES: usize = 12;
/// How long a session is kept, in milliseconds.
const LIFETIME: u64 = 15 * 60 * 1000;
/// The most sessions that are kept. With more, the oldest go.
const MAX_SESSIONS: usize = 1_000;

/// The `auth` field of a request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    password: Option<String>,
    identifier: Option<Identifier>,
    /// The older form of `identifier`.
    user: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

/// The sessions of all clients.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    /// The SHA-256 of what it confirms, which may be long: another operation needs another session.
    operation: [u8; 32],
    /// Milliseconds since the epoch.
    began: u64,
    /// Whether the user has gone through the stage.
    completed: bool,
}

impl Sessions {
    fn live(&self, now: u64) -> MutexGuard<'_, HashMap<String, Session>> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now.saturating_sub(session.began) < LIFETIME);
        sessions
    }

    fn begin(&self, id: String, operation: &str, now: u64) {
        let mut sessions = self.live(now);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.began);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(
            id,
            Session {
                operation: Sha256::digest(operation).into(),
                began: now,
                completed: false,
            },
        );
    }

    fn complete(&self, id: &str, now: u64) {
        if let Some(session) = self.live(now).get_mut(id) {
            session.completed = true;
        }
    }
}

/// One request that is to be confirmed.
struct Attempt<'a> {
    api: &'a Api,
    operation: &'a str,
    auth: Option<&'a Auth>,
    stage: &'static str,
}

/// Asks for `m.login.dummy`, which anybody can do. `operation` names what is confirmed and of what.
///
/// # Errors
/// 401 with the flow, unless `auth` has gone through it.
pub(super) fn dummy(api: &Api, operation: &str, auth: Option<&Auth>) -> Result<(), ApiError> {
    let attempt = Attempt {
        api,
        operation,
        auth,
        stage: DUMMY,
    };
    match attempt.proof()? {
        None => Ok(()),
        Some(_) => attempt.pass(),
    }
}

/// Asks the user for their password, or for `m.login.dummy` if they have none. `operation` names what is confirmed
/// and of what.
///
/// # Errors
/// 401 with the flow, unless `auth` has gone through it; 403 `M_FORBIDDEN` if `auth` is about another user.
pub(super) async fn confirm(
    api: &Api,
    user_id: &UserId,
    operation: &str,
    auth: Option<&Auth>,
) -> Result<(), ApiError> {
    let operation = format!("{operation} {user_id}");
    if !api.homeserver().has_password(user_id).await? {
        return dummy(api, &operation, auth);
    }
    let attempt = Attempt {
        api,
        operation: &operation,
        auth,
        stage: PASSWORD,
    };
    let Some(proof) = attempt.proof()? else {
        return Ok(());
    };
    if proof
        .identifier
        .as_ref()
        .is_some_and(|identifier| identifier.kind != USER)
    {
        return Err(attempt.challenge(Some("Users are known by their user ids alone")));
    }
    if !attempt.names(proof, user_id) {
        return Err(ApiError::forbidden("You can prove to be yourself alone"));
    }
    let password = proof.password.as_deref().unwrap_or_default();
    if api.homeserver().check_password(user_id, password).await? {
        return attempt.pass();
    }
    Err(attempt.challenge(Some("Invalid password")))
}

impl<'a> Attempt<'a> {
    /// The proof of the stage that is still to be checked; `None` if the session has gone through it before.
    fn proof(&self) -> Result<Option<&'a Auth>, ApiError> {
        let Some(auth) = self.auth else {
            return Err(self.challenge(None));
        };
        if self.session().is_some_and(|(is_for_this, _)| !is_for_this) {
            return Err(self.challenge(Some("The session is for another operation")));
        }
        match auth.kind.as_deref() {
            Some(kind) if kind == self.stage => Ok(Some(auth)),
            Some(_) => Err(self.challenge(Some("No such stage"))),
            None if self.session() == Some((true, true)) => Ok(None),
            None => Err(self.challenge(None)),
        }
    }

    /// Whether the session of the request, if it is known, is for this operation, and whether it is completed.
    fn session(&self) -> Option<(bool, bool)> {
        let id = self.auth?.session.as_deref()?;
        let sessions = self.sessions().live(self.api.homeserver().now());
        let session = sessions.get(id)?;
        let is_for_this = session.operation[..] == Sha256::digest(self.operation)[..];
        Some((is_for_this, session.completed))
    }

    /// Whether the proof is about `user_id`, or names nobody.
    fn names(&self, proof: &Auth, user_id: &UserId) -> bool {
        let identifier = proof.identifier.as_ref();
        let named = identifier.and_then(|identifier| identifier.user.as_deref());
        let Some(named) = named.or(proof.user.as_deref()) else {
            return true;
        };
        let named = self.api.homeserver().local_user_id(named);
        named.is_ok_and(|named| named == user_id)
    }

    fn pass(&self) -> Result<(), ApiError> {
        if let Some(id) = self.auth.and_then(|auth| auth.session.as_deref()) {
            self.sessions().complete(id, self.api.homeserver().now());
        }
        Ok(())
    }

    /// What the client is asked for.
    fn challenge(&self, failure: Option<&str>) -> ApiError {
        let known = self.session().filter(|(is_for_this, _)| *is_for_this);
        let kept = self
            .auth
            .and_then(|auth| auth.session.clone())
            .filter(|_| known.is_some());
        let session = kept.unwrap_or_else(|| {
            let homeserver = self.api.homeserver();
            let id = homeserver.random_id(SESSION_BYTES);
            self.sessions()
                .begin(id.clone(), self.operation, homeserver.now());
            id
        });
        let mut body = Map::new();
        body.insert("session".into(), session.into());
        body.insert("flows".into(), json!([{"stages": [self.stage]}]));
        body.insert("params".into(), json!({}));
        if let Some(failure) = failure {
            body.insert("completed".into(), json!([]));
            body.insert("errcode".into(), "M_FORBIDDEN".into());
            body.insert("error".into(), Value::from(failure));
        }
        ApiError::interactive(body)
    }

    fn sessions(&self) -> &'a Sessions {
        self.api.interactive()
    }
}
