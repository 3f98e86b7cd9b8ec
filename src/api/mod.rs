//! HTTP: thin handlers, one file per verb or small family. Each begins with the ways in which it can fail.

pub mod admin;
pub mod client;
pub mod client_ip;
pub mod error;
pub mod extract;
pub mod federation;
pub mod files;
pub mod grpc;
pub mod linkim;
mod peer_error;
mod public_rooms;
pub mod well_known;

#[cfg(test)]
mod tests;
