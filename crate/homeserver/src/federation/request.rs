//! Signed requests. Spec: Server-Server API, section 'Request Authentication'.

use bytes::Bytes;
use hearth_rooms::canonical_json::{Numbers, encode};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ruma_common::{
    OwnedServerName, ServerName, SigningKeyAlgorithm,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{KeyPair, verify_canonical_json_bytes};
use serde_json::{Value, json};

use crate::{AnswerLimit, Error, FederationError, Homeserver, federation::received::known_key};

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
            RequestError::Refused { errcode, .. } if errcode == "M_INVITE_BLOCKED" => Self::InviteBlocked,
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

/// Endpoints that answer with a room's whole state.
const WHOLE_ROOM: [&str; 3] = ["/send_join/", "/state/", "/state_ids/"];
/// Endpoints that answer with many events, or with many users' keys.
const LISTS: [&str; 5] = [
    "/event_auth/",
    "/org.hearth/events/",
    "/backfill/",
    "/get_missing_events/",
    "/user/keys/",
];

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
            if let Some(origin) = self.proven_origin(&header, method, uri, content.as_deref()) {
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
        content: Option<&str>,
    ) -> Option<OwnedServerName> {
        let destination = header.destination.as_deref();
        if destination.is_some_and(|destination| destination != self.server_name().as_str()) {
            return None;
        }
        let origin = ServerName::parse(&header.origin).ok()?;
        let signed = signed_text(method, uri, origin.as_str(), destination, content);
        let key = known_key(&origin, &header.key)?;
        let signature = Base64::<Standard>::parse(&header.sig).ok()?;
        let algorithm = SigningKeyAlgorithm::Ed25519;
        verify_canonical_json_bytes(&algorithm, &key, signature.as_bytes(), signed.as_bytes()).ok()?;
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
        let mut request = self.signed_request(destination, method, uri, content)?;
        request.extensions_mut().insert(answer_limit(uri));
        let response = self.seams.federation.send(destination.as_str(), request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        serde_json::from_slice(response.body()).map_err(|_| protocol("the answer is not JSON"))
    }

    /// Asks `destination` for a file, with `headers` that are not signed; returns its 200 or 206 answer, of at most
    /// `limit` bytes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(crate) async fn request_file(
        &self,
        destination: &ServerName,
        uri: &str,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Response<Bytes>, RequestError> {
        let mut request = self.signed_request(destination, Method::GET, uri, None)?;
        request.headers_mut().extend(headers);
        request.extensions_mut().insert(AnswerLimit(limit));
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
        let content = content.map(|content| encode(&content, Numbers::Lenient));
        let content = content
            .transpose()
            .map_err(|error| protocol(&error.to_string()))?;
        let origin = self.server_name().as_str();
        let signed = signed_text(
            &method,
            uri,
            origin,
            Some(destination.as_str()),
            content.as_deref(),
        );
        let signature = self.identity.key_pair().sign(signed.as_bytes());
        let (key, sig) = (signature.id(), signature.base64());
        let header =
            format!("X-Matrix origin=\"{origin}\",destination=\"{destination}\",key=\"{key}\",sig=\"{sig}\"");
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, header);
        if content.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = content.map(Bytes::from).unwrap_or_default();
        request.body(body).map_err(|error| protocol(&error.to_string()))
    }
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

/// What a request's signature is over. `content` is canonical already.
fn signed_text(
    method: &Method,
    uri: &str,
    origin: &str,
    destination: Option<&str>,
    content: Option<&str>,
) -> String {
    let mut text = String::from("{");
    if let Some(content) = content {
        text.extend(["\"content\":", content, ","]);
    }
    let mut rest = json!({ "method": method.as_str(), "origin": origin, "uri": uri });
    if let Some(destination) = destination {
        rest["destination"] = destination.into();
    }
    // `content` comes first among the fields.
    text.extend(rest.to_string().strip_prefix('{'));
    text
}

/// The body in canonical form.
fn parse_content(content: &[u8]) -> Result<Option<String>, Error> {
    if content.is_empty() {
        return Ok(None);
    }
    let not_canonical = || Error::BadJson("the body is not canonical JSON".into());
    let value = serde_json::from_slice(content).map_err(|_| not_canonical())?;
    encode(&value, Numbers::Lenient)
        .map(Some)
        .map_err(|_| not_canonical())
}

/// How great an answer to a request for `uri` may be. Read as JSON, it takes several times as much memory.
fn answer_limit(uri: &str) -> AnswerLimit {
    let is_one_of = |endpoints: &[&str]| endpoints.iter().any(|endpoint| uri.contains(endpoint));
    AnswerLimit(match () {
        () if is_one_of(&WHOLE_ROOM) => 64 << 20,
        () if is_one_of(&LISTS) => 16 << 20,
        () => 2 << 20,
    })
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
