//! Why a request could not be served. `hearth-api` maps each cause to its status and errcode.

use hearth_storage::StoreError;

/// Why a request could not be served, by cause.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The requester may not do this. `M_FORBIDDEN`, 403.
    #[error("{0}")]
    Forbidden(String),
    /// A position of sliding sync is forgotten: the client begins anew. `M_UNKNOWN_POS`, 400 (MSC4186).
    #[error("the position is not known any more")]
    UnknownPos,
    /// An event is not in the thread that it is to be the reason to follow. `IO.ELEMENT.MSC4306.M_NOT_IN_THREAD`, 400.
    #[error("the event is not in the thread")]
    NotInThread,
    /// The user has ended the subscription to a thread since. `IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION`, 409.
    #[error("the subscription was ended after that")]
    ConflictingUnsubscription,
    /// The user takes no invites from there. `M_INVITE_BLOCKED`, 403.
    #[error("the user does not take this invite")]
    InviteBlocked,
    /// The thing is not there. `M_NOT_FOUND`, 404.
    #[error("{0}")]
    NotFound(String),
    /// A parameter is malformed or out of range. `M_INVALID_PARAM`, 400.
    #[error("{0}")]
    InvalidParam(String),
    /// A required parameter is missing. `M_MISSING_PARAM`, 400.
    #[error("{0}")]
    MissingParam(String),
    /// Well-formed JSON of the wrong shape. `M_BAD_JSON`, 400.
    #[error("{0}")]
    BadJson(String),
    /// The access token is not known. `M_UNKNOWN_TOKEN`, 401.
    #[error("the access token is not known")]
    UnknownToken,
    /// The access token was good and has expired. `M_UNKNOWN_TOKEN` with `soft_logout`, 401.
    #[error("the access token has expired")]
    TokenExpired,
    /// An administrator has locked the account. `M_USER_LOCKED` with `soft_logout`, 401.
    #[error("the account is locked")]
    UserLocked,
    /// An administrator has suspended the account. `M_USER_SUSPENDED`, 403.
    #[error("the account is suspended: it may only read and leave")]
    UserSuspended,
    /// Guests may not do this. `M_GUEST_ACCESS_FORBIDDEN`, 403.
    #[error("{0}")]
    GuestForbidden(String),
    /// The user name is taken. `M_USER_IN_USE`, 400.
    #[error("the user name is taken")]
    UserInUse,
    /// The user name breaks the grammar. `M_INVALID_USERNAME`, 400.
    #[error("{0}")]
    InvalidUsername(String),
    /// The alias that a new room is to have is taken. `M_ROOM_IN_USE`, 400.
    #[error("the room alias is taken")]
    RoomInUse,
    /// The alias that the directory is to list is taken. `M_UNKNOWN`, 409.
    #[error("the room alias is taken")]
    AliasTaken,
    /// Only a room that one has left can be forgotten. `M_UNKNOWN`, 400.
    #[error("you have not left this room")]
    NotLeft,
    /// The name of a field of a profile is too long. `M_KEY_TOO_LARGE`, 400.
    #[error("the name of a field has at most {max} bytes")]
    KeyTooLarge {
        /// The longest name, in bytes.
        max: usize,
    },
    /// A profile would get too large. `M_PROFILE_TOO_LARGE`, 400.
    #[error("a profile has at most {max} bytes")]
    ProfileTooLarge {
        /// The largest profile, in bytes.
        max: usize,
    },
    /// An alias of a canonical alias event does not mean the room. `M_BAD_ALIAS`, 400.
    #[error("{0}")]
    BadAlias(String),
    /// The initial state of a new room is not allowed. `M_INVALID_ROOM_STATE`, 400.
    #[error("{0}")]
    InvalidRoomState(String),
    /// The room version is not known here. `M_UNSUPPORTED_ROOM_VERSION`, 400.
    #[error("room version {0} is not supported")]
    UnsupportedRoomVersion(String),
    /// The other side does not know the room's version. `M_INCOMPATIBLE_ROOM_VERSION`, 400.
    #[error("the requesting server does not support room version {0}")]
    IncompatibleRoomVersion(String),
    /// A restricted join needs another resident server. `M_UNABLE_TO_AUTHORISE_JOIN`, 400.
    #[error("{0}")]
    UnableToAuthoriseJoin(String),
    /// A restricted join would be right, but no user of this server can let anybody in. `M_UNABLE_TO_GRANT_JOIN`, 400.
    #[error("{0}")]
    UnableToGrantJoin(String),
    /// The room was joined without its members, who have not come yet. `M_UNABLE_DUE_TO_PARTIAL_STATE`, 404 (MSC3895).
    #[error("the members of this room are not known here yet")]
    PartialState,
    /// An event may not be delayed by that much. `M_UNKNOWN` with `M_MAX_DELAY_EXCEEDED` of MSC4140, 400.
    #[error("an event is delayed by at most {max} ms")]
    DelayTooLong {
        /// The longest delay, in milliseconds.
        max: u64,
    },
    /// Too many events wait to be sent. `M_UNKNOWN` with `M_MAX_DELAYED_EVENTS_EXCEEDED` of MSC4140, 400.
    #[error("too many events wait to be sent")]
    TooManyDelayed,
    /// A delayed event was sent or cancelled before. `M_NOT_FOUND`, 409. MSC4140 has that status with `M_UNKNOWN`, but
    /// matrix-js-sdk, which schedules a new one where the old is gone, looks for `M_NOT_FOUND` alone and ends the call
    /// at any other.
    #[error("the event was sent or cancelled before")]
    Finalised,
    /// The request or event is too large. `M_TOO_LARGE`, 413.
    #[error("{0}")]
    TooLarge(String),
    /// An event may not relate to another as it does. `M_UNKNOWN`, 400.
    #[error("{0}")]
    InvalidRelation(String),
    /// The user has annotated the event with the same before. `M_DUPLICATE_ANNOTATION`, 400.
    #[error("you have annotated this event with the same already")]
    DuplicateAnnotation,
    /// The requester has had too much of this for now. `M_LIMIT_EXCEEDED`, 429.
    #[error("too many requests")]
    LimitExceeded {
        /// How long to wait, in milliseconds.
        retry_after_ms: u64,
    },
    /// There is a file under the id already. `M_CANNOT_OVERWRITE_MEDIA`, 409.
    #[error("the file is there already")]
    CannotOverwriteMedia,
    /// A file that was announced has not come in time. `M_NOT_YET_UPLOADED`, 504.
    #[error("the file has not been uploaded yet")]
    NotYetUploaded,
    /// No smaller picture can be made of a file. `M_UNKNOWN`, 400.
    #[error("{0}")]
    NoThumbnail(String),
    /// A request of another server is not signed as it must be. `M_UNAUTHORIZED`, 401.
    #[error("{0}")]
    Unauthorized(String),
    /// A key is not signed as it must be. `M_INVALID_SIGNATURE`, 400.
    #[error("{0}")]
    InvalidSignature(String),
    /// Keys are for a backup that is not the newest. `M_WRONG_ROOM_KEYS_VERSION`, 403.
    #[error("the newest backup is version {current}")]
    WrongBackupVersion {
        /// The newest version.
        current: String,
    },
    /// No other server gave an answer. `M_UNKNOWN`, 502.
    #[error("{0}")]
    Unreachable(String),
    /// Storage is full or closed, or failed. `M_UNKNOWN`, 500; full: 507 `M_RESOURCE_LIMIT_EXCEEDED`.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stored data cannot be read: a defect. `M_UNKNOWN`, 500.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
}
