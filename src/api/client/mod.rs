//! The Matrix client-server API.

mod append_error;
pub mod authentication;
pub mod create_room;
pub mod membership;
pub mod send;
