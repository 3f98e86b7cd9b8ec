//! The client-server API, one module for each section of the specification.
//!
//! One executable, because linking one costs more than running most modules does. Tests that do not disturb each other
//! share [`SERVER`]; a test that needs another configuration, a restart or the whole directory starts its own.

use conformance_tests::{Options, Shared};

mod account;
mod account_data;
mod aliases;
mod bad_input;
mod create_room;
mod cross_signing;
mod device_lists;
mod devices;
mod directory;
mod discovery;
mod encryption_keys;
mod filters;
mod history_visibility;
mod key_backup;
mod login;
mod media;
mod membership;
mod messages;
mod power_levels;
mod presence;
mod profiles;
mod reading;
mod receipts;
mod redaction;
mod registration;
mod restart;
mod room_state;
mod sending;
mod sync_members;
mod sync_polling;
mod sync_sections;
mod sync_timeline;
mod sync_unread;
mod to_device;
mod tokens;
mod typing;
mod upgrades;

/// Open registration and nothing else out of the ordinary.
pub(crate) static SERVER: Shared = Shared::new(Options::default);

/// The room versions that the specification lists as stable.
pub(crate) const ROOM_VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
