//! What the owner of a homeserver may choose.

use std::time::Duration;

use ruma_common::RoomVersionId;

use crate::turn::Turn;

/// Settings of a homeserver.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether anybody who reaches the client API may make an account.
    pub open_registration: bool,
    /// The version of rooms made here when the request names none.
    pub default_room_version: RoomVersionId,
    /// Whether users hear of each other who is there.
    pub presence: bool,
    /// The greatest file that is accepted, in bytes.
    pub max_upload_bytes: u64,
    /// How long the access tokens of clients that refresh them are usable.
    pub access_token_lifetime: Duration,
    /// Whether anybody may come in as a guest.
    pub guests: bool,
    /// The server through which calls go that find no other way.
    pub turn: Option<Turn>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open_registration: true,
            default_room_version: RoomVersionId::V12,
            presence: true,
            max_upload_bytes: 50 * 1024 * 1024,
            access_token_lifetime: Duration::from_secs(5 * 60),
            guests: false,
            turn: None,
        }
    }
}
