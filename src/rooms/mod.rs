//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod append;
pub mod checks;
mod content;
pub mod create;
mod guests;
pub mod membership;
pub mod power;
pub mod presets;
mod profile;
mod restricted;
pub mod send;
pub mod state;
pub mod state_hash;
mod stripped;
