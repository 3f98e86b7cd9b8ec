//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod aliases;
pub mod append;
pub mod checks;
pub mod client_event;
mod content;
pub mod create;
pub mod directory;
mod guests;
pub mod hierarchy;
pub mod ignored_users;
pub mod membership;
pub mod page_token;
pub mod power;
pub mod presets;
mod profile;
pub mod relations;
mod restricted;
pub mod send;
pub mod state;
pub mod state_hash;
mod stripped;
pub mod summary;
pub mod upgrade;
mod upgrade_plan;
pub mod visibility;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
