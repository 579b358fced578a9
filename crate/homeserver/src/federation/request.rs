//! Signed requests. Spec: Server-Server API, section 'Request Authentication'.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{PublicKeyMap, sign_json, verify_json};
use serde_json::Value;

use crate::{Error, FederationError, Homeserver, identity};

/// The most `X-Matrix` headers that one request is checked for.
const MAX_HEADERS: usize = 4;
/// The longest `X-Matrix` header.
const MAX_HEADER: usize = 2048;

/// Why another server gave no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// There was no HTTP answer, or not one that the spec allows.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The answer was an error of the spec.
    #[error("{status}: {errcode}: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `errcode`.
        errcode: String,
        /// The text for people.
        error: String,
    },
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused {
                status: 403, error, ..
            } => Self::Forbidden(error),
            RequestError::Refused {
                status: 404, error, ..
            } => Self::NotFound(error),
            RequestError::Refused { errcode, error, .. } if errcode == "M_INCOMPATIBLE_ROOM_VERSION" => {
                Self::UnsupportedRoomVersion(error)
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl Homeserver {
    /// Checks the `Authorization: X-Matrix` headers of a request of another server, and returns its name.
    /// `uri` is path and query as they were received; `content` the body, empty if there is none.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if no header proves the origin; [`Error::BadJson`] if the body is not JSON.
    pub fn authenticate(
        &self,
        method: &Method,
        uri: &str,
        authorization: &[&str],
        content: &[u8],
    ) -> Result<OwnedServerName, Error> {
        let content = parse_content(content)?;
        for header in authorization
            .iter()
            .take(MAX_HEADERS)
            .filter_map(|text| XMatrix::parse(text))
        {
            if let Some(origin) = self.proven_origin(&header, method, uri, content.as_ref()) {
                return Ok(origin);
            }
        }
        Err(Error::Unauthorized(
            "no X-Matrix header proves who sends this request".into(),
        ))
    }

    fn proven_origin(
        &self,
        header: &XMatrix,
        method: &Method,
        uri: &str,
        content: Option<&CanonicalJsonValue>,
    ) -> Option<OwnedServerName> {
        let destination = header.destination.as_deref();
        if destination.is_some_and(|destination| destination != self.server_name().as_str()) {
            return None;
        }
        let origin = ServerName::parse(&header.origin).ok()?;
        let mut object = signed_object(method, uri, origin.as_str(), destination, content);
        let signature =
            BTreeMap::from([(header.key.clone(), CanonicalJsonValue::String(header.sig.clone()))]);
        let signatures = BTreeMap::from([(header.origin.clone(), CanonicalJsonValue::Object(signature))]);
        object.insert("signatures".into(), CanonicalJsonValue::Object(signatures));
        verify_json(&server_keys(&[&origin]), &object).ok()?;
        Some(origin)
    }

    /// Sends a signed request to `destination`, and returns the JSON of its 200 answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(
        &self,
        destination: &ServerName,
        method: Method,
        uri: &str,
        content: Option<Value>,
    ) -> Result<Value, RequestError> {
        let request = self.signed_request(destination, method, uri, content)?;
        let response = self.seams.federation.send(destination.as_str(), request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        serde_json::from_slice(response.body()).map_err(|_| protocol("the answer is not JSON"))
    }

    /// Asks `destination` for a file, with `headers` that are not signed; returns its 200 or 206 answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(crate) async fn request_file(
        &self,
        destination: &ServerName,
        uri: &str,
        headers: HeaderMap,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut request = self.signed_request(destination, Method::GET, uri, None)?;
        request.headers_mut().extend(headers);
        let response = self.seams.federation.send(destination.as_str(), request).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(refused(&response)),
        }
    }

    fn signed_request(
        &self,
        destination: &ServerName,
        method: Method,
        uri: &str,
        content: Option<Value>,
    ) -> Result<Request<Bytes>, RequestError> {
        let content: Option<CanonicalJsonValue> = content
            .map(TryInto::try_into)
            .transpose()
            .map_err(|_| protocol("not canonical JSON"))?;
        let origin = self.server_name().as_str();
        let mut object = signed_object(&method, uri, origin, Some(destination.as_str()), content.as_ref());
        sign_json(origin, self.identity.key_pair(), &mut object)
            .map_err(|error| protocol(&error.to_string()))?;
        let (key, sig) = signature_of(&object, origin).ok_or_else(|| protocol("not signed"))?;
        let header =
            format!("X-Matrix origin=\"{origin}\",destination=\"{destination}\",key=\"{key}\",sig=\"{sig}\"");
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, header);
        if content.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = content
            .map(|content| Bytes::from(content.to_string()))
            .unwrap_or_default();
        request.body(body).map_err(|error| protocol(&error.to_string()))
    }
}

/// The public keys of `servers`, read from their names. A server whose name is not a key has none.
pub(crate) fn server_keys(servers: &[&ServerName]) -> PublicKeyMap {
    let keys = servers.iter().filter_map(|server| {
        let key = Base64::<Standard>::new(identity::public_key(server.as_str())?.to_vec());
        let key_id = format!("ed25519:{}", identity::KEY_VERSION);
        Some((server.to_string(), BTreeMap::from([(key_id, key)])))
    });
    keys.collect()
}

/// The parameters of one `X-Matrix` header.
#[derive(Default)]
struct XMatrix {
    origin: String,
    destination: Option<String>,
    key: String,
    sig: String,
}

impl XMatrix {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ')?;
        if header.len() > MAX_HEADER || !scheme.eq_ignore_ascii_case("X-Matrix") {
            return None;
        }
        let mut parsed = Self::default();
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=')?;
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "origin" => parsed.origin = value,
                "destination" => parsed.destination = Some(value),
                "key" => parsed.key = value,
                "sig" => parsed.sig = value,
                _ => (),
            }
        }
        Some(parsed)
    }
}

fn signed_object(
    method: &Method,
    uri: &str,
    origin: &str,
    destination: Option<&str>,
    content: Option<&CanonicalJsonValue>,
) -> CanonicalJsonObject {
    let mut object = CanonicalJsonObject::new();
    let mut put =
        |name: &str, value: &str| object.insert(name.into(), CanonicalJsonValue::String(value.into()));
    put("method", method.as_str());
    put("uri", uri);
    put("origin", origin);
    if let Some(destination) = destination {
        put("destination", destination);
    }
    if let Some(content) = content {
        object.insert("content".into(), content.clone());
    }
    object
}

fn signature_of<'a>(object: &'a CanonicalJsonObject, server: &str) -> Option<(&'a str, &'a str)> {
    let signatures = object.get("signatures")?.as_object()?.get(server)?.as_object()?;
    let (key, signature) = signatures.iter().next()?;
    Some((key, signature.as_str()?))
}

fn parse_content(content: &[u8]) -> Result<Option<CanonicalJsonValue>, Error> {
    if content.is_empty() {
        return Ok(None);
    }
    let value = serde_json::from_slice(content)
        .map_err(|_| Error::BadJson("the body is not canonical JSON".into()))?;
    Ok(Some(value))
}

/// What an answer says that is an error.
fn refused(response: &Response<Bytes>) -> RequestError {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let text = |field: &str| {
        body.get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    RequestError::Refused {
        status: response.status().as_u16(),
        errcode: text("errcode"),
        error: text("error"),
    }
}

fn protocol(reason: &str) -> RequestError {
    FederationError::Protocol(reason.to_owned()).into()
}
