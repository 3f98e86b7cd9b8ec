//! What a client has to hear of: the streams, and /sync as a view of them.

pub mod notifier;
pub mod token;
