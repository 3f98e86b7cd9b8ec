//! The Matrix client-server API.

mod append_error;
pub mod authentication;
pub mod context;
pub mod create_room;
pub mod event;
pub mod joined_members;
pub mod joined_rooms;
pub mod members;
pub mod membership;
pub mod messages;
mod reading;
pub mod relations;
pub mod send;
pub mod state_get;
pub mod threads;
pub mod timestamp_to_event;
