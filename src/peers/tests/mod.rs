//! Servers that talk to each other, each test on fresh databases.

mod hosting;
mod invites;
mod joins;
mod leaves_and_knocks;
mod liars;
pub(crate) mod two_servers;
