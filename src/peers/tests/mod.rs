//! Servers that talk to each other, each test on fresh databases.

mod asked;
mod history;
mod hosting;
mod invites;
mod joins;
mod leaves_and_knocks;
mod liars;
mod partial_joins;
mod policy;
mod served;
pub(crate) mod two_servers;
