//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod append;
pub mod client_event;
pub mod event_filter;
pub mod ignored_users;
pub mod page_token;
pub mod power;
pub mod receipts;
pub(crate) mod recency;
pub mod relations;
pub mod state;
pub mod state_hash;
pub mod typing;
pub mod unread;
pub mod visibility;
pub mod wake;
