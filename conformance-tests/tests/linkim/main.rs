//! LinkIM's own client API, one module for each family of endpoints.
//!
//! One executable, because linking one costs more than running most modules does. Tests that do not disturb each other
//! share [`SERVER`]; a test that needs another configuration or a restart starts its own.

use conformance_tests::{Options, Shared};

mod accounts_codes;
mod accounts_login;
mod accounts_matrix;
mod accounts_profile;
mod accounts_register;
mod accounts_sessions;
mod addresses;
mod announcements;
mod blacklist;
mod conventions;
mod conversations;
mod friends;
mod groups;
mod groups_dissolution;
mod groups_joining;
mod groups_mutes;
mod groups_roles;
mod grpc;
mod labels;
mod message_status;
mod messages;
mod user_search;
mod weaknesses;
mod ws;
mod ws_exact;
mod ws_frames;
mod ws_resuming;

/// A server for tests that disturb no other.
static SERVER: Shared = Shared::new(Options::default);
