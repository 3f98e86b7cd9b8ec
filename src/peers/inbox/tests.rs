//! What other servers send, from the transaction to the room.

mod bad_events;
mod edus;
mod gaps;
mod transactions;
