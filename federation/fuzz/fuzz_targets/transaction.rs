//! The body of a transaction, and each of its events and EDUs as far as they are read before a room is looked up.
//!
//! `cargo +nightly fuzz run transaction`, in `federation/`.

#![no_main]
#![expect(dead_code, reason = "the server's own file, of which the reading is called")]

#[path = "../../../src/json.rs"]
mod json;
#[path = "../../../src/peers/inbox/wire.rs"]
mod wire;

use linkim_federation::{Pdu, STABLE_VERSIONS, required_servers, rules};
use ruma::{RoomVersionId, server_name};
use wire::{MAX_EDUS, MAX_PDUS, Outline, Transaction, guessed_id, named_id, read_edu};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(transaction) = Transaction::read(server_name!("a.example"), data) else {
        return;
    };
    assert!(transaction.pdus.len() <= MAX_PDUS && transaction.edus.len() <= MAX_EDUS);
    for edu in &transaction.edus {
        let _ = read_edu(edu);
    }
    for (at, pdu) in transaction.pdus.iter().enumerate() {
        let named = named_id(pdu);
        let Some(outline) = Outline::read(pdu) else { continue };
        let _ = guessed_id(pdu, outline.room_id.as_deref(), named);
        let version = RoomVersionId::try_from(STABLE_VERSIONS[at % STABLE_VERSIONS.len()]).expect("a version");
        let rules = rules(&version).expect("a stable one");
        if let Ok(pdu) = Pdu::from_peer(pdu.get().as_bytes(), rules) {
            let _ = required_servers(&pdu, rules);
        }
    }
});
