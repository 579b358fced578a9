//! The tables of the current schema.

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A named table of ordered byte keys and byte values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Table {
            $($(#[$doc])* $variant,)*
        }

        impl Table {
            /// Every table of the current schema.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name under which backends keep the table.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

tables! {
    /// Single values: signing key, counters, configuration.
    Meta = "meta",
    /// Users, devices, access tokens, profiles, filters, transaction ids.
    Accounts = "accounts",
    /// Account data, global and for each room.
    AccountData = "account_data",
    /// Rooms: their version, extremities and current state root.
    Rooms = "rooms",
    /// Events by event id, with what we decided about them.
    Events = "events",
    /// Events of each room in timeline order.
    Timeline = "timeline",
    /// Nodes of state trees by content hash.
    State = "state",
    /// Memberships of users, by user and by room.
    Memberships = "memberships",
    /// Receipts by room and user.
    Receipts = "receipts",
    /// Room aliases and the published directory.
    Directory = "directory",
    /// The append-only log that `/sync` and the federation sender read.
    Stream = "stream",
    /// What is still to be sent to each server, and what was received in transactions.
    Federation = "federation",
    /// Keys of devices and servers.
    Keys = "keys",
    /// Media: what is known of each file, and its chunks.
    Media = "media",
    /// Which events relate to an event, and the threads of each room.
    Relations = "relations",
    /// Where in each room words are found.
    Search = "search",
}
