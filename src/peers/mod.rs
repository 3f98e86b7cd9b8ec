//! Other servers: how they are reached and known, what we owe them, what they send, rooms joined and history read through
//! them.

pub mod backfill;
mod body_pieces;
mod bounded_body;
pub mod budgets;
mod candidates;
pub mod client;
pub mod directory;
pub mod drafts;
mod event_lists;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod handshake;
pub mod heard_from;
pub mod hierarchy;
pub mod hosting;
pub mod https;
pub mod inbox;
pub mod inviting;
pub mod joining;
pub mod keys;
pub mod knocking;
pub mod leaving;
pub mod missing;
pub mod policy;
pub mod presence;
pub mod profiles;
mod published;
pub mod reachability;
pub mod sender;
pub mod serving;
mod slots;
pub mod timestamps;
mod told;
pub mod transport;
pub mod whereabouts;

#[cfg(test)]
pub(crate) mod tests;
