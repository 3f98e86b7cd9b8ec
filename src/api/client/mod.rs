//! The Matrix client-server API.

pub mod aliases;
mod append_error;
pub mod authentication;
pub mod create_room;
pub mod directory;
pub mod membership;
pub mod room_summary;
pub mod send;
pub mod upgrade;
