//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod access;
pub mod append;
pub mod children;
pub mod client_event;
pub mod event_filter;
pub mod ignored_users;
pub mod page_token;
pub mod power;
pub mod relations;
pub mod state;
pub mod state_hash;
pub mod state_view;
pub mod threads;
pub mod timeline;
pub mod visibility;
