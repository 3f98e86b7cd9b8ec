//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod append;
pub mod power;
pub mod state;
pub mod state_hash;
