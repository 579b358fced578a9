//! The room versions that this engine takes part in, and where their rules come from.
//!
//! The rules themselves (what differs between versions) are ruma's [`RoomVersionRules`].

use std::{fmt, str::FromStr};

use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};

use crate::canonical_json::{MAX_INTEGER, Numbers};

/// A room version that can be created and joined: all that the specification has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomVersion {
    /// Room version 1: events name their ids, the first state resolution.
    V1,
    /// Room version 2: the second state resolution.
    V2,
    /// Room version 3: event ids are hashes.
    V3,
    /// Room version 4: event ids are URL-safe.
    V4,
    /// Room version 5: signing keys expire.
    V5,
    /// Room version 6: strict canonical JSON.
    V6,
    /// Room version 7: knocking.
    V7,
    /// Room version 8: restricted joins.
    V8,
    /// Room version 9: restricted joins survive redaction.
    V9,
    /// Room version 10: power levels are integers.
    V10,
    /// Room version 11: the creator is the sender of the create event.
    V11,
    /// Room version 12: the room id is the hash of the create event, creators outrank all others.
    V12,
}

/// The name of a room version that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("room version {0} is not supported")]
pub struct UnsupportedVersion(pub String);

impl RoomVersion {
    /// The version of new rooms, unless asked otherwise.
    pub const DEFAULT: Self = Self::V12;

    /// Every supported version, oldest first.
    pub const ALL: [Self; 12] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V10,
        Self::V11,
        Self::V12,
    ];

    /// The identifier, as in `m.room.create`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// All of them, as servers name to each other in a query what they support: `ver=1&ver=2…`.
    pub fn as_query() -> String {
        let names = Self::ALL
            .iter()
            .map(|version| format!("ver={}", version.as_str()));
        names.collect::<Vec<_>>().join("&")
    }

    /// ruma's identifier.
    pub fn id(self) -> RoomVersionId {
        match self {
            Self::V1 => RoomVersionId::V1,
            Self::V2 => RoomVersionId::V2,
            Self::V3 => RoomVersionId::V3,
            Self::V4 => RoomVersionId::V4,
            Self::V5 => RoomVersionId::V5,
            Self::V6 => RoomVersionId::V6,
            Self::V7 => RoomVersionId::V7,
            Self::V8 => RoomVersionId::V8,
            Self::V9 => RoomVersionId::V9,
            Self::V10 => RoomVersionId::V10,
            Self::V11 => RoomVersionId::V11,
            Self::V12 => RoomVersionId::V12,
        }
    }

    /// The rules of the version.
    pub fn rules(self) -> &'static RoomVersionRules {
        static V1: RoomVersionRules = RoomVersionRules::V1;
        static V2: RoomVersionRules = RoomVersionRules::V2;
        static V3: RoomVersionRules = RoomVersionRules::V3;
        static V4: RoomVersionRules = RoomVersionRules::V4;
        static V5: RoomVersionRules = RoomVersionRules::V5;
        static V6: RoomVersionRules = RoomVersionRules::V6;
        static V7: RoomVersionRules = RoomVersionRules::V7;
        static V8: RoomVersionRules = RoomVersionRules::V8;
        static V9: RoomVersionRules = RoomVersionRules::V9;
        static V10: RoomVersionRules = RoomVersionRules::V10;
        static V11: RoomVersionRules = RoomVersionRules::V11;
        static V12: RoomVersionRules = RoomVersionRules::V12;
        match self {
            Self::V1 => &V1,
            Self::V2 => &V2,
            Self::V3 => &V3,
            Self::V4 => &V4,
            Self::V5 => &V5,
            Self::V6 => &V6,
            Self::V7 => &V7,
            Self::V8 => &V8,
            Self::V9 => &V9,
            Self::V10 => &V10,
            Self::V11 => &V11,
            Self::V12 => &V12,
        }
    }

    /// Which numbers the JSON of events may hold.
    pub fn numbers(self) -> Numbers {
        match self.rules().authorization.strict_canonical_json {
            true => Numbers::Strict,
            false => Numbers::Lenient,
        }
    }

    /// Whether events say their id themselves (`event_id`), and list others with their hashes.
    pub fn event_names_its_id(self) -> bool {
        self.rules().event_format.require_event_id
    }

    /// The greatest `depth` of an event that can be made. Spec: each room version, "Event format".
    pub fn max_depth(self) -> u64 {
        match self.numbers() {
            Numbers::Strict => MAX_INTEGER.cast_unsigned(),
            Numbers::Lenient => i64::MAX.cast_unsigned(),
        }
    }

    /// Whether the room id is the reference hash of the create event, which then has no `room_id`.
    pub fn room_id_is_create_hash(self) -> bool {
        self.rules().authorization.room_create_event_id_as_room_id
    }
}

impl Default for RoomVersion {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for RoomVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RoomVersion {
    type Err = UnsupportedVersion;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == name)
            .ok_or_else(|| UnsupportedVersion(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[test]
    fn names_round_trip() {
        for version in RoomVersion::ALL {
            assert_eq!(version.to_string().parse::<RoomVersion>().unwrap(), version);
            assert_eq!(version.id().as_str(), version.as_str());
        }
    }

    #[test]
    fn other_versions_are_refused() {
        for name in ["0", "13", "1.0", "", "012", "org.example.version"] {
            assert_eq!(
                name.parse::<RoomVersion>(),
                Err(UnsupportedVersion(name.to_owned()))
            );
        }
    }
}
