//! Servers that help to join synthetic rooms, and answer nothing else.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use hearth_homeserver::{Federation, FederationError};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use percent_encoding::percent_decode_str;
use ruma_common::UserId;

use crate::{Failure, synthetic_room::SyntheticRoom};

/// The servers, by name.
#[derive(Default)]
pub(crate) struct Remote(HashMap<String, SyntheticRoom>);

impl Remote {
    pub(crate) fn of(rooms: impl IntoIterator<Item = SyntheticRoom>) -> Arc<Self> {
        let named = rooms
            .into_iter()
            .map(|room| (room.server_name().to_owned(), room));
        Arc::new(Self(named.collect()))
    }

    fn answer(&self, destination: &str, request: &Request<Bytes>) -> Result<Option<Bytes>, Failure> {
        let Some(room) = self.0.get(destination) else {
            return Ok(None);
        };
        let path = request.uri().path();
        if path.contains("/make_join/") {
            let user_id = path.rsplit('/').next().unwrap_or_default();
            let user_id = UserId::parse(percent_decode_str(user_id).decode_utf8()?)?;
            return Ok(Some(room.make_join(&user_id)?.to_string().into()));
        }
        if path.contains("/v2/send_join/") {
            let body: serde_json::Value = serde_json::from_slice(request.body())?;
            return Ok(Some(room.send_join(&body.to_string()).into()));
        }
        Ok(None)
    }
}

impl Federation for Remote {
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        Box::pin(async move {
            let answer = self.answer(destination, &request);
            let answer = answer.map_err(|error| FederationError::Protocol(error.to_string()))?;
            answer.map(Response::new).ok_or(FederationError::Unreachable)
        })
    }
}
