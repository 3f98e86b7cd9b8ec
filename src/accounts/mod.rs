//! Accounts of this server: users, devices, tokens, login flows, profiles, account data.

mod session;

pub use self::session::Session;
