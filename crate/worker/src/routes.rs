//! `/_hearth/**`: what the app asks its worker beside the Matrix API.

use hearth_api::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{hearth::Instance, log, status::Status};

/// The prefix of every path that is answered here.
pub(crate) const PREFIX: &str = "/_hearth/";
/// The most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// The most addresses in one request.
const MAX_ADDRESSES: usize = 64;

/// Why a request is not served.
struct Refusal(StatusCode, &'static str, String);

#[derive(Deserialize)]
struct Relays {
    relays: Vec<String>,
}

#[derive(Deserialize)]
struct Route {
    server: String,
    relays: Vec<String>,
}

/// Answers `request`. `is_own` says whether a page of ours made it.
pub(crate) async fn handle(instance: &Instance, request: Request<Body>, is_own: bool) -> Response<Body> {
    if !is_own {
        return forbidden("only the app's own pages may ask this");
    }
    match dispatch(instance, request).await {
        Ok(body) => respond(StatusCode::OK, body),
        Err(refusal) => refuse(refusal),
    }
}

/// 403, because of `why`.
pub(crate) fn forbidden(why: &str) -> Response<Body> {
    refuse(Refusal(StatusCode::FORBIDDEN, "M_FORBIDDEN", why.to_owned()))
}

fn refuse(Refusal(status, errcode, error): Refusal) -> Response<Body> {
    respond(status, json!({ "errcode": errcode, "error": error }).to_string())
}

async fn dispatch(instance: &Instance, request: Request<Body>) -> Result<String, Refusal> {
    let path = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .unwrap_or_default()
        .to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "status") => to_json(&Status::of(&instance.about, &instance.network)),
        (&Method::GET, "log") => to_json(&log::lines()),
        (&Method::POST, "relays") => add_relays(instance, read(request).await?).await,
        (&Method::POST, "routes") => add_route(instance, read(request).await?).await,
        (_, "status" | "log" | "relays" | "routes") => Err(Refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "M_UNRECOGNIZED",
            "wrong method".into(),
        )),
        _ => Err(Refusal(
            StatusCode::NOT_FOUND,
            "M_UNRECOGNIZED",
            "unknown path".into(),
        )),
    }
}

async fn add_relays(instance: &Instance, Relays { relays }: Relays) -> Result<String, Refusal> {
    bounded(&relays)?;
    let accepted = instance.network.add_relays(relays.clone());
    if accepted == relays.len() {
        instance.addresses.keep_relays(&relays).await.map_err(failed)?;
    }
    to_json(&json!({ "accepted": accepted }))
}

async fn add_route(instance: &Instance, Route { server, relays }: Route) -> Result<String, Refusal> {
    bounded(&relays)?;
    let accepted = instance.network.add_route(&server, relays.clone());
    if accepted > 0 && accepted == relays.len() {
        instance
            .addresses
            .keep_linked(&server, &relays)
            .await
            .map_err(failed)?;
    }
    to_json(&json!({ "accepted": accepted }))
}

fn bounded(addresses: &[String]) -> Result<(), Refusal> {
    if addresses.len() <= MAX_ADDRESSES {
        return Ok(());
    }
    Err(Refusal(
        StatusCode::BAD_REQUEST,
        "M_INVALID_PARAM",
        "too many addresses".into(),
    ))
}

async fn read<T: DeserializeOwned>(request: Request<Body>) -> Result<T, Refusal> {
    let body = request.into_body().collect(MAX_BODY).await;
    let body =
        body.map_err(|error| Refusal(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error.to_string()))?;
    let json: Value = serde_json::from_slice(&body)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, "M_NOT_JSON", error.to_string()))?;
    serde_json::from_value(json)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, "M_BAD_JSON", error.to_string()))
}

fn to_json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", error.to_string())
}

fn respond(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
