//! Rooms: create, append (the one write path), membership, state, timeline, visibility, aliases, directory, upgrade.

pub mod access;
pub mod account_follower;
pub mod aliases;
pub mod append;
pub mod checks;
pub mod children;
pub mod client_event;
pub(crate) mod content;
pub mod create;
mod create_plan;
pub mod directory;
pub mod elsewhere;
pub mod event_filter;
#[cfg(test)]
mod fixture;
pub mod gaps;
mod guests;
pub mod hierarchy;
pub mod ignored_users;
pub(crate) mod invite_permission;
pub mod membership;
mod page_scan;
pub mod page_token;
pub mod policy;
pub mod power;
mod predecessor;
pub mod presets;
pub(crate) mod profile;
pub mod reading;
#[cfg(test)]
mod reading_fixture;
pub mod receipts;
pub(crate) mod recency;
pub mod relations;
pub mod remote_receipts;
pub mod reports;
pub(crate) mod restricted;
pub mod send;
pub mod send_rules;
pub mod server_acl;
pub mod server_visibility;
pub mod state;
pub mod state_hash;
pub mod state_view;
pub(crate) mod stripped;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod threads;
pub mod timeline;
pub mod typing;
pub mod unread;
pub mod upgrade;
mod upgrade_plan;
pub mod user_directory;
pub mod visibility;
pub mod wake;
