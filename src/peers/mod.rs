//! Other servers: how they are reached and known, what we owe them, what they send, rooms joined and history read through
//! them.

pub mod budgets;
pub mod client;
pub mod directory;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod heard_from;
pub mod hierarchy;
pub mod https;
pub mod inbox;
pub mod keys;
pub mod missing;
pub mod profiles;
mod published;
pub mod reachability;
pub mod serving;
mod slots;
pub mod transport;
