//! The harness of the black-box tests: real server processes on loopback, and actors that speak to them over sockets.
//!
//! A test reads
//!
//! ```no_run
//! # use conformance_tests::{Options, Server, v3};
//! # use serde_json::json;
//! # async fn example() {
//! let server = Server::start(Options::default());
//! let alice = server.register("alice").await;
//! let room = alice.create_room(json!({ "preset": "public_chat" })).await;
//! alice.get(&v3!("/rooms/{}/state", room)).await.ok();
//! # }
//! ```
//!
//! The server binary is `LINKIM_BIN`, else `linkim` in the profile folder that the test executable lies in; the harness
//! builds nothing. There are no sleeps: whatever takes time is waited for by its condition, with a bound
//! ([`Client::wait_until_sync`], [`eventually`]).

mod across;
mod authority;
mod client;
mod command;
mod events;
pub mod figures;
mod files;
mod folders;
mod gate;
pub mod keys;
mod linkim;
mod options;
pub mod peer;
mod push;
mod reply;
mod rooms;
mod server;
mod shared;
mod synapse;
mod sync;
pub mod verification;
mod wait;

pub use across::{heard, invited, join_via, membership_is, same_state, shared_room, state_of};
pub use authority::{Authority, Issued};
pub use client::Client;
pub use command::{printed, run};
pub use events::{bodies, event_ids, find_event, find_state, find_state_in, membership_of, room_in, timeline};
pub use gate::Gate;
pub use options::{Federation, Options, Registration};
pub use push::Push;
pub use reply::Reply;
pub use server::{Server, binary};
pub use shared::{Shared, SharedServer, unique};
pub use synapse::Synapse;
pub use sync::Sync;
pub use wait::{PATIENCE, eventually};

/// Percent-encodes one path component or query value: all but the unreserved characters of RFC 3986.
pub fn encode(component: &str) -> String {
    const UNRESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(component, UNRESERVED).to_string()
}

/// A path from a format string, each argument percent-encoded: `path!("/_matrix/client/v3/profile/{}", user_id)`.
#[macro_export]
macro_rules! path {
    ($format:literal $(, $argument:expr)* $(,)?) => {
        format!($format $(, $crate::encode(&$argument.to_string()))*)
    };
}

/// A path under `/_matrix/client/v3`, each argument percent-encoded: `v3!("/rooms/{}/join", room)`.
#[macro_export]
macro_rules! v3 {
    ($format:literal $(, $argument:expr)* $(,)?) => {
        format!(concat!("/_matrix/client/v3", $format) $(, $crate::encode(&$argument.to_string()))*)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn path_components_keep_no_reserved_character() {
        assert_eq!(v3!("/rooms/{}/state/{}", "!a/b:c", "#?%"), "/_matrix/client/v3/rooms/%21a%2Fb%3Ac/state/%23%3F%25");
    }
}
