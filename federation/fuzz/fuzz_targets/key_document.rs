//! A key document, a notary's response, and a query.
//!
//! `cargo +nightly fuzz run key_document`, in `federation/`.

#![no_main]

#[path = "../../tests/protocol/arbitrary.rs"]
#[expect(dead_code, reason = "each target calls one of its functions")]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arbitrary::key_document(data));
