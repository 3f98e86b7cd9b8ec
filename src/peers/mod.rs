//! Other servers: how they are reached and known, what we owe them, what they send, rooms joined and history read through
//! them.

pub mod backfill;
pub mod budgets;
mod candidates;
pub mod client;
pub mod directory;
pub mod events;
pub mod heard_from;
pub mod hierarchy;
pub mod https;
pub mod keys;
pub mod profiles;
mod published;
pub mod reachability;
pub mod serving;
pub mod timestamps;
pub mod transport;
