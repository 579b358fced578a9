//! `POST /keys/claim`: one-time keys are given away, each once.

use std::{collections::BTreeMap, time::Duration};

use futures::{
    StreamExt,
    future::{Either, select},
    stream,
};
use hearth_storage::{BoxFuture, WriteBatch};
use http::Method;
use ruma_common::{OwnedDeviceId, OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    is_name,
    key_query::{Unreached, timeout, unreached},
};
use crate::{
    Error, FederationError, Homeserver, JsonObject, LogEntry,
    federation::{request::RequestError, uri::path},
};

/// The most devices of one claim.
const MAX_DEVICES: usize = 5_000;
/// How many other servers are asked at the same time.
const AT_ONCE: usize = 32;

/// From which devices keys of which algorithm are claimed.
pub type Claims = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, String>>;

/// Keys by user and device, each by its name.
pub type ClaimedKeys = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, JsonObject>>;

/// The body of a claim of a client.
#[derive(Clone, Debug, Deserialize)]
pub struct KeysClaim {
    /// From which devices.
    pub one_time_keys: Claims,
    /// How long to wait for other servers, in milliseconds.
    pub timeout: Option<u64>,
}

/// The answer to a claim.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClaimAnswer {
    /// The keys.
    pub one_time_keys: ClaimedKeys,
    /// Which servers could not be asked.
    pub failures: Unreached,
}

/// What one server has answered.
type ServerClaim = (OwnedServerName, Result<ClaimedKeys, RequestError>);

impl Homeserver {
    /// Claims a key from each device that `claim` names. Devices that have none are left out of the answer.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it names too many devices.
    pub async fn claim_keys(&self, claim: KeysClaim) -> Result<ClaimAnswer, Error> {
        check(&claim.one_time_keys)?;
        let (local, remote): (Claims, Claims) = claim
            .one_time_keys
            .into_iter()
            .partition(|(user_id, _)| self.is_local(user_id));
        let mut answer = ClaimAnswer {
            one_time_keys: self.claim_local(local).await?,
            failures: Unreached::new(),
        };
        for (server, claimed) in self.claim_remote(remote, timeout(claim.timeout)).await {
            match claimed {
                Ok(keys) => answer.one_time_keys.extend(keys),
                Err(error) => {
                    answer.failures.insert(server, unreached(&error));
                }
            }
        }
        Ok(answer)
    }

    /// Answers `POST /user/keys/claim` of another server.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it names too many devices, or a user who is not of this server.
    pub async fn federation_claim_keys(&self, claims: Claims) -> Result<Value, Error> {
        check(&claims)?;
        if let Some(user_id) = claims.keys().find(|user_id| !self.is_local(user_id)) {
            return Err(Error::InvalidParam(format!("{user_id} is not of this server")));
        }
        Ok(json!({"one_time_keys": self.claim_local(claims).await?}))
    }

    async fn claim_local(&self, claims: Claims) -> Result<ClaimedKeys, Error> {
        let mut claimed = ClaimedKeys::new();
        for (user_id, devices) in claims {
            let keys = self.claim_of_user(&user_id, devices).await?;
            if !keys.is_empty() {
                claimed.insert(user_id, keys);
            }
        }
        Ok(claimed)
    }

    /// Takes a key off each of the user's devices, in one batch that is on the disk before anybody gets them.
    async fn claim_of_user(
        &self,
        user_id: &UserId,
        devices: BTreeMap<OwnedDeviceId, String>,
    ) -> Result<BTreeMap<OwnedDeviceId, JsonObject>, Error> {
        let _lock = self.accounts.lock(user_id).await;
        let (mut batch, mut entries) = (WriteBatch::new(), Vec::new());
        let (mut claimed, mut left) = (BTreeMap::new(), Vec::new());
        for (device_id, algorithm) in devices {
            if !is_name(device_id.as_str()) || !is_name(&algorithm) {
                continue;
            }
            let taken = self.take_key(&mut batch, user_id, &device_id, &algorithm).await?;
            let Some(((name, key), counts)) = taken else {
                continue;
            };
            entries.push(LogEntry::KeysClaimed {
                user_id: user_id.to_owned(),
                device_id: device_id.clone(),
            });
            left.push((device_id.clone(), counts));
            claimed.insert(device_id, JsonObject::from_iter([(name, key)]));
        }
        if batch.is_empty() {
            return Ok(claimed);
        }
        batch.strict();
        let Some(shared) = self.shared() else {
            return Err(Error::Damaged("closing".into()));
        };
        let owner = user_id.to_owned();
        let publish = move || {
            for (device_id, counts) in left {
                shared.encryption.counts.put(&owner, &device_id, counts);
            }
        };
        let reservation = self.log.reserve(entries.len());
        reservation.commit(batch, entries, publish).await?;
        Ok(claimed)
    }

    async fn claim_remote(&self, claims: Claims, timeout: Duration) -> Vec<ServerClaim> {
        let mut by_server: BTreeMap<OwnedServerName, Claims> = BTreeMap::new();
        for (user_id, devices) in claims {
            let server = user_id.server_name().to_owned();
            by_server.entry(server).or_default().insert(user_id, devices);
        }
        let mut questions: Vec<BoxFuture<'_, ServerClaim>> = Vec::new();
        for (server, claims) in by_server {
            questions.push(Box::pin(self.claim_of_server(server, claims, timeout)));
        }
        stream::iter(questions).buffer_unordered(AT_ONCE).collect().await
    }

    async fn claim_of_server(
        &self,
        server: OwnedServerName,
        claims: Claims,
        timeout: Duration,
    ) -> ServerClaim {
        let uri = path("v1/user/keys/claim", &[], "");
        let body = json!({ "one_time_keys": claims });
        let question = Box::pin(self.request(&server, Method::POST, &uri, Some(body)));
        let answer = match select(question, self.seams.clock.sleep(timeout)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(FederationError::Timeout.into()),
        };
        let keys = answer.map(|answer| parse_answer(&claims, answer));
        (server, keys)
    }
}

/// The keys in another server's answer that were claimed.
fn parse_answer(claims: &Claims, mut answer: Value) -> ClaimedKeys {
    let mut found = ClaimedKeys::new();
    for (user_id, devices) in claims {
        for (device_id, algorithm) in devices {
            let keys = answer
                .get_mut("one_time_keys")
                .and_then(|users| users.get_mut(user_id.as_str())?.get_mut(device_id.as_str()))
                .map(Value::take);
            let Some(Value::Object(mut keys)) = keys else {
                continue;
            };
            let of_algorithm =
                |name: &String| name.split_once(':').is_some_and(|(kind, _)| kind == algorithm);
            keys.retain(|name, key| of_algorithm(name) && (key.is_object() || key.is_string()));
            if keys.is_empty() {
                continue;
            }
            found
                .entry(user_id.clone())
                .or_default()
                .insert(device_id.clone(), keys);
        }
    }
    found
}

fn check(claims: &Claims) -> Result<(), Error> {
    match claims.values().map(BTreeMap::len).sum::<usize>() > MAX_DEVICES {
        true => Err(Error::InvalidParam(format!(
            "at most {MAX_DEVICES} keys are claimed at once"
        ))),
        false => Ok(()),
    }
}
