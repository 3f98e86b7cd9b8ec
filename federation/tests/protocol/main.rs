//! What the crate promises, tested from outside: by the specification's vectors, against ruma, and by properties.

mod arbitrary;
mod auth_dag;
mod authorise;
mod canonical;
mod common;
mod events;
mod format;
mod history;
mod redaction;
mod resolve;
mod resolve_v1;
mod room;
mod signing;
