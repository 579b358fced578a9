//! The only place where a cause becomes an HTTP status and a Matrix `errcode`.
//!
//! Spec: Client-Server API, section 'Standard error response'.

use hearth_homeserver::Error;
use hearth_storage::StoreError;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    answer::{Answer, json_with},
    body::BodyError,
};

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
}

impl ApiError {
    /// An error with a code of the spec and a text for humans.
    pub(crate) fn new(status: StatusCode, errcode: &str, message: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("errcode".into(), errcode.into());
        body.insert("error".into(), message.into().into());
        Self { status, body }
    }

    /// The same error with one more field.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.into(), value.into());
        self
    }

    /// 404: the path is not one of ours.
    pub(crate) fn unrecognized() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request")
    }

    /// 405: the path is known, the method is not.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "M_UNRECOGNIZED",
            "Unrecognized method",
        )
    }

    /// 401: the endpoint needs an access token and there is none.
    pub(crate) fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "M_MISSING_TOKEN",
            "Missing access token",
        )
    }

    /// 400: the body is not JSON.
    pub(crate) fn not_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", message)
    }

    /// 400: JSON of the wrong shape.
    pub(crate) fn bad_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    /// 400: a parameter of the path, query or body is malformed or out of range.
    pub(crate) fn invalid_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    /// 400: a required parameter is missing.
    pub(crate) fn missing_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message)
    }

    /// 403: the requester may not do this.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    /// 403: who has an e-mail address or telephone number is known to identity servers, and none of them is asked.
    pub(crate) fn third_party_invite() -> Self {
        let message = "Users are invited by their ids: no identity server is asked";
        Self::new(StatusCode::FORBIDDEN, "M_SERVER_NOT_TRUSTED", message)
    }

    /// 404: the thing is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// 429: too many requests; try again after `retry_after_ms`.
    pub(crate) fn limit_exceeded(retry_after_ms: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "M_LIMIT_EXCEEDED",
            "Too many requests",
        )
        .with("retry_after_ms", retry_after_ms)
    }

    /// 401 with what User-Interactive Authentication asks for, and the error of a failed stage if there is one.
    pub(crate) fn interactive(challenge: Map<String, Value>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            body: challenge,
        }
    }

    /// The status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The HTTP answer.
    pub(crate) fn into_answer(self) -> Answer {
        let retry_after_ms = self.body.get("retry_after_ms").and_then(Value::as_u64);
        let mut answer = json_with(self.status, &self.body);
        if let Some(milliseconds) = retry_after_ms {
            answer
                .headers_mut()
                .insert(http::header::RETRY_AFTER, milliseconds.div_ceil(1000).into());
        }
        answer
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        if let Error::UnknownToken = error {
            return Self::from_cause(&error).with("soft_logout", json!(false));
        }
        if let Error::TokenExpired | Error::UserLocked = error {
            return Self::from_cause(&error).with("soft_logout", json!(true));
        }
        if let Error::LimitExceeded { retry_after_ms } = error {
            return Self::limit_exceeded(retry_after_ms);
        }
        if let Error::DelayTooLong { max } = &error {
            return Self::from_cause(&error)
                .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
                .with("org.matrix.msc4140.max_delay", *max);
        }
        if let Error::TooManyDelayed = &error {
            return Self::from_cause(&error)
                .with("org.matrix.msc4140.errcode", "M_MAX_DELAYED_EVENTS_EXCEEDED");
        }
        if let Error::IncompatibleRoomVersion(version) = &error {
            return Self::from_cause(&error).with("room_version", version.as_str());
        }
        if let Error::WrongBackupVersion { current } = &error {
            return Self::from_cause(&error).with("current_version", current.as_str());
        }
        Self::from_cause(&error)
    }
}

impl ApiError {
    fn from_cause(error: &Error) -> Self {
        let (status, errcode) = status_and_code(error);
        if status.is_server_error() {
            tracing::warn!(%error, "a request failed");
        }
        Self::new(status, errcode, error.to_string())
    }
}

fn status_and_code(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Forbidden(_) => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
        Error::UnknownPos => (StatusCode::BAD_REQUEST, "M_UNKNOWN_POS"),
        Error::NotInThread => (StatusCode::BAD_REQUEST, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"),
        Error::ConflictingUnsubscription => (
            StatusCode::CONFLICT,
            "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
        ),
        Error::InviteBlocked => (StatusCode::FORBIDDEN, "M_INVITE_BLOCKED"),
        Error::NotFound(_) => (StatusCode::NOT_FOUND, "M_NOT_FOUND"),
        Error::InvalidParam(_) => (StatusCode::BAD_REQUEST, "M_INVALID_PARAM"),
        Error::MissingParam(_) => (StatusCode::BAD_REQUEST, "M_MISSING_PARAM"),
        Error::BadJson(_) => (StatusCode::BAD_REQUEST, "M_BAD_JSON"),
        Error::UserLocked => (StatusCode::UNAUTHORIZED, "M_USER_LOCKED"),
        Error::UserSuspended => (StatusCode::FORBIDDEN, "M_USER_SUSPENDED"),
        Error::GuestForbidden(_) => (StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN"),
        Error::UnknownToken | Error::TokenExpired => (StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN"),
        Error::UserInUse => (StatusCode::BAD_REQUEST, "M_USER_IN_USE"),
        Error::InvalidUsername(_) => (StatusCode::BAD_REQUEST, "M_INVALID_USERNAME"),
        Error::RoomInUse => (StatusCode::BAD_REQUEST, "M_ROOM_IN_USE"),
        Error::AliasTaken => (StatusCode::CONFLICT, "M_UNKNOWN"),
        Error::NotLeft => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        Error::KeyTooLarge { .. } => (StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE"),
        Error::ProfileTooLarge { .. } => (StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE"),
        Error::BadAlias(_) => (StatusCode::BAD_REQUEST, "M_BAD_ALIAS"),
        Error::InvalidRoomState(_) => (StatusCode::BAD_REQUEST, "M_INVALID_ROOM_STATE"),
        Error::UnsupportedRoomVersion(_) => (StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION"),
        Error::IncompatibleRoomVersion(_) => (StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION"),
        Error::UnableToAuthoriseJoin(_) => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_AUTHORISE_JOIN"),
        Error::UnableToGrantJoin(_) => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_GRANT_JOIN"),
        Error::PartialState => (StatusCode::NOT_FOUND, "M_UNABLE_DUE_TO_PARTIAL_STATE"),
        Error::DelayTooLong { .. } | Error::TooManyDelayed => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        Error::Finalised => (StatusCode::CONFLICT, "M_NOT_FOUND"),
        Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE"),
        Error::LimitExceeded { .. } => (StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED"),
        Error::CannotOverwriteMedia => (StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA"),
        Error::NotYetUploaded => (StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED"),
        Error::InvalidRelation(_) => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        Error::DuplicateAnnotation => (StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION"),
        Error::NoThumbnail(_) => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
        Error::InvalidSignature(_) => (StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE"),
        Error::WrongBackupVersion { .. } => (StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION"),
        Error::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED"),
        Error::Unreachable(_) => (StatusCode::BAD_GATEWAY, "M_UNKNOWN"),
        Error::Store(StoreError::Full) => (StatusCode::INSUFFICIENT_STORAGE, "M_RESOURCE_LIMIT_EXCEEDED"),
        Error::Store(_) | Error::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN"),
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error.to_string())
            }
            BodyError::NoRoom => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error.to_string()),
            BodyError::Aborted(_) => Self::not_json(error.to_string()),
        }
    }
}
