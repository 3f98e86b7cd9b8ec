//! LinkIM's own client API, one module for each family of endpoints.
//!
//! One executable, because linking one costs more than running most modules does. Tests that do not disturb each other
//! share [`SERVER`]; a test that needs another configuration or a restart starts its own.

use conformance_tests::{Options, Shared};

mod announcements;
mod conventions;
mod groups;

/// A server for tests that disturb no other.
static SERVER: Shared = Shared::new(Options::default);
