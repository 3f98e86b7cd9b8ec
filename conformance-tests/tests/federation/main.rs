//! Rooms across servers: two and three real servers that federate over TLS on loopback.
//!
//! One executable, because linking one costs more than running most modules does. Tests that only talk share [`pair`];
//! those that cut the way between servers or restart them start their own.

use std::sync::{Arc, OnceLock};

use conformance_tests::{Authority, Options, Server};

mod conversation;
mod encryption;
mod history;
mod linkim_announcements;
mod linkim_contacts;
mod linkim_group_requests;
mod linkim_groups;
mod linkim_message_status;
mod linkim_scenario;
mod linkim_roles;
mod memberships;
mod outage;
mod partial_joins;
mod partition;
mod presence;
mod room_versions;
mod upgrade;

/// Two servers for tests that do not disturb each other.
fn pair() -> [Arc<Server>; 2] {
    static PAIR: OnceLock<[Arc<Server>; 2]> = OnceLock::new();
    PAIR.get_or_init(|| own::<2>().map(Arc::new)).clone()
}

/// Servers of a test's own, which trust each other's authority.
fn own<const N: usize>() -> [Server; N] {
    let authority = Authority::new();
    std::array::from_fn(|_| Server::start(Options::federating(&authority)))
}
