//! One request on its way to an endpoint: matched, decoded and authenticated, its body not yet read.

use std::sync::Arc;

use bytes::Bytes;
use hearth_homeserver::{Homeserver, accounts::Session};
use http::HeaderMap;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Api, ApiConfig, Body, error::ApiError, json, query::Query};

/// The most bytes that the body of an ordinary request may have.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// A request, from a requester known as `R`.
pub(crate) struct Call<R> {
    pub(crate) api: Api,
    pub(crate) requester: R,
    pub(crate) params: Params,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// A request that needs no access token.
pub(crate) type PublicCall = Call<()>;
/// A request of a logged-in user.
pub(crate) type UserCall = Call<Session>;
/// A signed request of another homeserver.
pub(crate) type ServerCall = Call<OwnedServerName>;

/// The parameters of a path, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) Vec<(&'static str, String)>);

impl<R> Call<R> {
    /// The same request, from a requester who is known now.
    pub(crate) fn made_by<S>(self, requester: S) -> Call<S> {
        let Self {
            api,
            params,
            query,
            headers,
            body,
            ..
        } = self;
        Call {
            api,
            requester,
            params,
            query,
            headers,
            body,
        }
    }

    /// The homeserver.
    pub(crate) fn homeserver(&self) -> &Arc<Homeserver> {
        self.api.homeserver()
    }

    /// The settings of the API.
    pub(crate) fn config(&self) -> &ApiConfig {
        self.api.config()
    }

    /// The path parameter `name`; empty where the route has none of that name.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params
            .0
            .iter()
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// The path parameter `name` as an identifier.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it breaks the grammar.
    pub(crate) fn id<T>(&self, name: &str) -> Result<T, ApiError>
    where
        for<'a> T: TryFrom<&'a str>,
    {
        let value = self.param(name);
        T::try_from(value).map_err(|_| ApiError::invalid_param(format!("{value:?} is no valid {name}")))
    }

    /// The path parameter `roomId`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is no room id.
    pub(crate) fn room_id(&self) -> Result<OwnedRoomId, ApiError> {
        self.id("roomId")
    }

    /// The path parameter `eventId`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is no event id.
    pub(crate) fn event_id(&self) -> Result<OwnedEventId, ApiError> {
        self.id("eventId")
    }

    /// The path parameter `userId`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is no user id.
    pub(crate) fn user_id(&self) -> Result<OwnedUserId, ApiError> {
        self.id("userId")
    }

    /// The whole body, up to [`MAX_BODY`].
    ///
    /// # Errors
    /// `M_TOO_LARGE` above that.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, ApiError> {
        self.bytes_upto(MAX_BODY).await
    }

    /// The whole body, up to `limit` bytes.
    ///
    /// # Errors
    /// `M_TOO_LARGE` above that.
    pub(crate) async fn bytes_upto(&mut self, limit: usize) -> Result<Bytes, ApiError> {
        Ok(std::mem::take(&mut self.body).collect(limit).await?)
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// `M_TOO_LARGE`, `M_NOT_JSON`, or `M_BAD_JSON` if it is no object or nested too deeply.
    pub(crate) async fn object(&mut self) -> Result<Map<String, Value>, ApiError> {
        json::shallow(json::object(&self.bytes().await?)?)
    }

    /// The body as a JSON object, which may be left out.
    ///
    /// # Errors
    /// Those of [`Call::object`].
    pub(crate) async fn object_or_empty(&mut self) -> Result<Map<String, Value>, ApiError> {
        json::shallow(json::object_or_empty(&self.bytes().await?)?)
    }

    /// The body as a `T`.
    ///
    /// # Errors
    /// Those of [`Call::object`], `M_MISSING_PARAM`, and `M_BAD_JSON` if a field has the wrong type.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        json::typed(self.object().await?)
    }

    /// The body as a `T` all of whose fields are optional; the body may be left out.
    ///
    /// # Errors
    /// Those of [`Call::json`].
    pub(crate) async fn json_or_empty<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        json::typed(self.object_or_empty().await?)
    }
}

impl UserCall {
    /// The path parameter `userId`, which must be the requester.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is no user id, `M_FORBIDDEN` if it is another user.
    pub(crate) fn own_user_id(&self) -> Result<OwnedUserId, ApiError> {
        let user_id = self.user_id()?;
        if user_id == self.requester.user_id {
            Ok(user_id)
        } else {
            Err(ApiError::forbidden("This is possible for your own user only"))
        }
    }
}
