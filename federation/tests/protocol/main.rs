//! What the crate promises, tested from outside: by the specification's vectors, against ruma, and by properties.

mod canonical;
mod common;
mod events;
mod format;
mod redaction;
mod signing;
