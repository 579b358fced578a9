//! Adding events to a room.
