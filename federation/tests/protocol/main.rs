//! What the crate promises, tested from outside: by the specification's vectors, against ruma, and by properties.

mod auth_dag;
mod canonical;
mod common;
mod events;
mod format;
mod redaction;
mod resolve;
mod resolve_v1;
mod room;
mod signing;
