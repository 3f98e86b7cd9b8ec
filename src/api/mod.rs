//! HTTP: thin handlers, one file per verb or small family. Each begins with the ways in which it can fail.

pub mod client;
pub mod error;
pub mod extract;
