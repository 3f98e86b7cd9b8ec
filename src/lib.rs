//! The LinkIM server: a Matrix homeserver that an organisation runs for itself.
//!
//! Three layers and one direction: `api` speaks HTTP, the domain modules decide, `store` remembers. Nothing imports upward.

pub mod accounts;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod conversations;
pub mod crypto;
pub mod groups;
pub mod json;
pub mod listen;
pub mod logging;
pub mod media;
pub mod numbers;
pub mod ops;
pub mod peers;
pub mod presence;
pub mod random;
pub mod rooms;
pub mod search;
pub mod store;
pub mod sync;
