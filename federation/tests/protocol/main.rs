//! What the crate promises, tested from outside: by the specification's vectors, against ruma, and by properties.

mod arbitrary;
mod auth_dag;
mod authorise;
mod canonical;
mod common;
mod discovery;
mod events;
mod format;
mod history;
mod private_address;
mod redaction;
mod resolve;
mod resolve_v1;
mod room;
mod server_keys;
mod server_name;
mod signing;
mod well_known;
mod x_matrix;
