//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod append;
pub mod page_token;
pub mod state;
