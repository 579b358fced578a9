//! JSON bodies of requests: which flaw is which error.

use hearth_homeserver::nesting_within;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The deepest nesting in what is stored or handed on: an event and what is around it. With what comes around it then,
/// serde_json reads it again.
const MAX_NESTING: usize = hearth_homeserver::MAX_NESTING + 10;

/// The JSON object in `bytes`. Nesting is bounded by serde_json (128 levels).
///
/// # Errors
/// `M_NOT_JSON` if it is not JSON, `M_BAD_JSON` if it is JSON but no object.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad_json("The body is not a JSON object")),
        Err(error) => Err(ApiError::not_json(format!("The body is not JSON: {error}"))),
    }
}

/// `object`, unless it is so deeply nested that it could not be read again from within something else.
///
/// # Errors
/// `M_BAD_JSON`.
pub(crate) fn shallow(object: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    match object.values().all(|value| nesting_within(value, MAX_NESTING)) {
        true => Ok(object),
        false => Err(ApiError::bad_json("The body is nested too deeply")),
    }
}

/// Like [`object`], but no body at all is an empty object: for endpoints where every field is optional.
pub(crate) fn object_or_empty(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.is_empty() {
        Ok(Map::new())
    } else {
        object(bytes)
    }
}

/// `object` as a `T`.
///
/// # Errors
/// `M_MISSING_PARAM` if a required field is missing, `M_BAD_JSON` if a field has the wrong type.
pub(crate) fn typed<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(object)).map_err(|error| {
        let message = error.to_string();
        // serde has no other way to tell a missing field from a wrong one.
        if message.starts_with("missing field") {
            ApiError::missing_param(message)
        } else {
            ApiError::bad_json(message)
        }
    })
}
