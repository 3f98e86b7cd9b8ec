//! The LinkIM server.

pub mod config;
