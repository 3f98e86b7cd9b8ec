//! Signatures of an event and of other JSON.
//!
//! `cargo +nightly fuzz run signatures`, in `federation/`.

#![no_main]

#[path = "../../tests/protocol/arbitrary.rs"]
#[expect(dead_code, reason = "each target calls one of its functions")]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arbitrary::signatures(data));
