//! What a client has to hear of: the streams, and /sync as a view of them.
//!
//! `rooms`, `account_data`, `ephemeral`, `to_device`, `device_lists` and `presence` are the streams: each reads what is new since a place, or everything, of one
//! snapshot ([`v3`] composes them). What changes wakes whoever waits ([`notifier`]).

mod account_data;
mod body;
mod crowds;
pub mod device_lists;
mod ephemeral;
pub mod filter;
mod invited;
mod joined;
mod left;
mod news;
pub mod notifier;
mod presence;
mod room_state;
mod rooms;
mod summary;
mod timeline;
mod to_device;
pub mod token;
pub mod v3;
mod view;
pub mod ws;

#[cfg(test)]
mod tests;
