//! `POST /keys/query`: the identity keys of users' devices and the users' cross-signing keys.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Either, select},
    stream,
};
use hearth_storage::BoxFuture;
use http::Method;
use ruma_common::{OwnedDeviceId, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    cross_signing::key_of,
    remote_devices::{UserKeys, checked_keys},
};
use crate::{
    Error, FederationError, Homeserver, JsonObject,
    federation::{request::RequestError, uri::path},
    ordered::object,
};

/// The most users of one query.
const MAX_USERS: usize = 5_000;
/// The most devices named for one user.
const MAX_DEVICES: usize = 1_000;
/// How long other servers are waited for, unless the client says how long.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that other servers are waited for: a browser stops a worker whose event handler takes 30 s.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How many other servers are asked at the same time.
const AT_ONCE: usize = 32;

/// Whose keys, and of which devices of theirs: of all if none is named.
pub type WantedKeys = BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>;

/// The body of a query of a client.
#[derive(Clone, Debug, Deserialize)]
pub struct KeysQuery {
    /// Whose keys.
    pub device_keys: WantedKeys,
    /// How long to wait for other servers, in milliseconds.
    pub timeout: Option<u64>,
}

/// The answer to a query.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeysAnswer {
    /// Identity keys by user and device.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, JsonObject>>,
    /// Master keys.
    pub master_keys: BTreeMap<OwnedUserId, JsonObject>,
    /// Self-signing keys.
    pub self_signing_keys: BTreeMap<OwnedUserId, JsonObject>,
    /// The asking user's own user-signing key.
    pub user_signing_keys: BTreeMap<OwnedUserId, JsonObject>,
    /// Which servers could not be asked.
    pub failures: Unreached,
}

/// Why servers could not be asked.
pub type Unreached = BTreeMap<OwnedServerName, Value>;

/// What one server has answered.
type ServerKeys = (
    OwnedServerName,
    Vec<(OwnedUserId, UserKeys)>,
    Option<RequestError>,
);

impl KeysAnswer {
    fn add(&mut self, user_id: OwnedUserId, keys: UserKeys, wanted: &[OwnedDeviceId]) {
        let mut devices = keys.devices;
        if !wanted.is_empty() {
            devices.retain(|device_id, _| wanted.contains(device_id));
        }
        self.device_keys.insert(user_id.clone(), devices);
        let cross_signing = keys.cross_signing;
        for (map, key) in [
            (&mut self.master_keys, cross_signing.master),
            (&mut self.self_signing_keys, cross_signing.self_signing),
            (&mut self.user_signing_keys, cross_signing.user_signing),
        ] {
            if let Some(key) = key {
                map.insert(user_id.clone(), key);
            }
        }
    }
}

impl Homeserver {
    /// The keys of the users that `query` names, as `viewer` may see them.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it names too many.
    pub async fn query_keys(&self, viewer: &UserId, query: KeysQuery) -> Result<KeysAnswer, Error> {
        check_wanted(&query.device_keys)?;
        let mut answer = KeysAnswer::default();
        let mut unknown: BTreeMap<OwnedServerName, Vec<OwnedUserId>> = BTreeMap::new();
        for (user_id, wanted) in &query.device_keys {
            let known = if self.is_local(user_id) {
                let mut keys = self.local_keys(user_id, viewer).await?;
                self.name_devices(user_id, &mut keys).await?;
                Some(keys)
            } else {
                self.known_devices(user_id).await?
            };
            match known {
                Some(keys) => answer.add(user_id.clone(), keys, wanted),
                None => {
                    let server = user_id.server_name().to_owned();
                    unknown.entry(server).or_default().push(user_id.clone());
                }
            }
        }
        let timeout = timeout(query.timeout);
        for (server, found, failure) in self.ask_for_keys(unknown, timeout).await? {
            for (user_id, keys) in found {
                let wanted = query
                    .device_keys
                    .get(&user_id)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                answer.add(user_id, keys, wanted);
            }
            if let Some(error) = failure {
                answer.failures.insert(server, unreached(&error));
            }
        }
        self.add_own_signatures(viewer, &mut answer).await?;
        Ok(answer)
    }

    /// Answers `POST /user/keys/query` of another server.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it names too many users, or one who is not of this server.
    pub async fn federation_query_keys(&self, wanted: WantedKeys) -> Result<Value, Error> {
        check_wanted(&wanted)?;
        let mut answer = KeysAnswer::default();
        for (user_id, devices) in wanted {
            if !self.is_local(&user_id) {
                return Err(Error::InvalidParam(format!("{user_id} is not of this server")));
            }
            let mut keys = self.local_keys(&user_id, &user_id).await?;
            keys.cross_signing.user_signing = None;
            answer.add(user_id, keys, &devices);
        }
        Ok(json!({
            "device_keys": answer.device_keys,
            "master_keys": answer.master_keys,
            "self_signing_keys": answer.self_signing_keys,
        }))
    }

    /// The keys of a local user with the signatures that `viewer` may see. The user-signing key is for its owner
    /// alone.
    pub(super) async fn local_keys(&self, user_id: &UserId, viewer: &UserId) -> Result<UserKeys, Error> {
        let mut keys = UserKeys {
            devices: self.all_device_keys(user_id).await?,
            cross_signing: self.cross_signing_keys(user_id).await?,
        };
        for (device_id, device) in &mut keys.devices {
            let signed = std::mem::take(device);
            *device = self
                .with_signatures(signed, user_id, device_id.as_str(), user_id)
                .await?;
        }
        if let Some(master) = keys.cross_signing.master.take() {
            keys.cross_signing.master = Some(self.signed_master(master, user_id, viewer).await?);
        }
        if viewer != user_id {
            keys.cross_signing.user_signing = None;
        }
        Ok(keys)
    }

    /// The master key of any user, as far as it is known or can be asked for.
    pub(super) async fn master_key_of(&self, user_id: &UserId) -> Result<Option<JsonObject>, Error> {
        if self.is_local(user_id) {
            return Ok(self.cross_signing_keys(user_id).await?.master);
        }
        if let Some(keys) = self.known_devices(user_id).await? {
            return Ok(keys.cross_signing.master);
        }
        let wanted = BTreeMap::from([(user_id.server_name().to_owned(), vec![user_id.to_owned()])]);
        let answers = self.ask_for_keys(wanted, USUAL_TIMEOUT).await?;
        let mut found = answers.into_iter().flat_map(|(_, found, _)| found);
        Ok(found.find_map(|(_, keys)| keys.cross_signing.master))
    }

    async fn signed_master(
        &self,
        master: JsonObject,
        user_id: &UserId,
        viewer: &UserId,
    ) -> Result<JsonObject, Error> {
        let Some(name) = key_of(&master).map(|(_, public)| public.to_owned()) else {
            return Ok(master);
        };
        self.with_signatures(master, user_id, &name, viewer).await
    }

    /// Adds what users call their devices.
    async fn name_devices(&self, user_id: &UserId, keys: &mut UserKeys) -> Result<(), Error> {
        if keys.devices.is_empty() {
            return Ok(());
        }
        for device in self.devices(user_id).await? {
            if let (Some(keys), Some(name)) = (keys.devices.get_mut(&device.device_id), device.display_name) {
                keys.insert("unsigned".into(), json!({"device_display_name": name}));
            }
        }
        Ok(())
    }

    /// Adds the viewer's signatures of other servers' users.
    async fn add_own_signatures(&self, viewer: &UserId, answer: &mut KeysAnswer) -> Result<(), Error> {
        let remote: BTreeSet<_> = ordered::set(
            answer
                .master_keys
                .keys()
                .filter(|user_id| !self.is_local(user_id))
                .cloned(),
        );
        for user_id in remote {
            if let Some(master) = answer.master_keys.remove(&user_id) {
                let signed = self.signed_master(master, &user_id, viewer).await?;
                answer.master_keys.insert(user_id, signed);
            }
        }
        Ok(())
    }

    /// Asks other servers for keys of their users.
    async fn ask_for_keys(
        &self,
        users: BTreeMap<OwnedServerName, Vec<OwnedUserId>>,
        timeout: Duration,
    ) -> Result<Vec<ServerKeys>, Error> {
        let mut questions: Vec<BoxFuture<'_, Result<ServerKeys, Error>>> = Vec::new();
        for (server, users) in users {
            questions.push(Box::pin(self.ask_server_for_keys(server, users, timeout)));
        }
        let answers: Vec<_> = stream::iter(questions).buffer_unordered(AT_ONCE).collect().await;
        answers.into_iter().collect()
    }

    async fn ask_server_for_keys(
        &self,
        server: OwnedServerName,
        users: Vec<OwnedUserId>,
        timeout: Duration,
    ) -> Result<ServerKeys, Error> {
        let (mut shared, mut others) = (Vec::new(), Vec::new());
        for user_id in users {
            match self.is_known_user(&user_id).await? {
                true => shared.push(user_id),
                false => others.push(user_id),
            }
        }
        let asked: Vec<_> = shared.iter().chain(&others).cloned().collect();
        let questions = Box::pin(self.ask_each(&server, shared, others));
        let (mut found, mut failure) = match select(questions, self.seams.clock.sleep(timeout)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => (Vec::new(), Some(FederationError::Timeout.into())),
        };
        // An old list is better than none; the failure says that it may be old.
        if failure.is_some() {
            for user_id in asked {
                let is_found = found.iter().any(|(found, _)| *found == user_id);
                if let Some(keys) = self.last_known_devices(&user_id).await?.filter(|_| !is_found) {
                    found.push((user_id, keys));
                }
            }
        }
        // That a user is not known there is an answer.
        failure.take_if(|error| matches!(error, RequestError::Refused { status: 404, .. }));
        Ok((server, found, failure))
    }

    async fn ask_each(
        &self,
        server: &ServerName,
        shared: Vec<OwnedUserId>,
        others: Vec<OwnedUserId>,
    ) -> (Vec<(OwnedUserId, UserKeys)>, Option<RequestError>) {
        let (mut found, mut failure) = (Vec::new(), None);
        for user_id in shared {
            match self.fetch_devices(&user_id).await {
                Ok(keys) => found.push((user_id, keys)),
                Err(error @ RequestError::Refused { .. }) => failure = Some(error),
                Err(error) => return (found, Some(error)),
            }
        }
        if !others.is_empty() {
            match self.ask_server(server, &others).await {
                Ok(answer) => found.extend(parse_answer(&others, answer)),
                Err(error) => failure = Some(error),
            }
        }
        (found, failure)
    }

    async fn ask_server(&self, server: &ServerName, users: &[OwnedUserId]) -> Result<Value, RequestError> {
        let wanted = object(users.iter().map(|user_id| (user_id.to_string(), json!([]))));
        let uri = path("v1/user/keys/query", &[], "");
        let body = json!({ "device_keys": wanted });
        self.request(server, Method::POST, &uri, Some(body)).await
    }
}

/// What the answer to `POST /user/keys/query` says of `users`.
fn parse_answer(users: &[OwnedUserId], mut answer: Value) -> Vec<(OwnedUserId, UserKeys)> {
    let mut take =
        |field: &str, user_id: &UserId| match answer.get_mut(field)?.get_mut(user_id.as_str())?.take() {
            Value::Object(object) => Some(object),
            _ => None,
        };
    let keys = users.iter().map(|user_id| {
        let devices = take("device_keys", user_id).unwrap_or_default();
        let cross_signing = (take("master_keys", user_id), take("self_signing_keys", user_id));
        (user_id.clone(), checked_keys(user_id, devices, cross_signing))
    });
    keys.collect()
}

/// How long to wait for other servers if the client asks to wait for `milliseconds`.
pub(super) fn timeout(milliseconds: Option<u64>) -> Duration {
    milliseconds.map_or(USUAL_TIMEOUT, |milliseconds| {
        Duration::from_millis(milliseconds).min(LONGEST_TIMEOUT)
    })
}

/// An entry of `failures`.
pub(super) fn unreached(error: &RequestError) -> Value {
    match error {
        RequestError::Federation(error) => {
            json!({"errcode": "M_UNREACHABLE", "error": error.to_string(), "status": 503})
        }
        RequestError::Refused {
            status,
            errcode,
            error,
        } => {
            json!({"errcode": errcode, "error": error, "status": status})
        }
    }
}

fn check_wanted(wanted: &WantedKeys) -> Result<(), Error> {
    if wanted.len() > MAX_USERS || wanted.values().any(|devices| devices.len() > MAX_DEVICES) {
        return Err(Error::InvalidParam("too many users or devices at once".into()));
    }
    Ok(())
}
