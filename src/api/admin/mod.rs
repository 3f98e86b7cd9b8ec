//! What operators' tools call.

pub mod register;
