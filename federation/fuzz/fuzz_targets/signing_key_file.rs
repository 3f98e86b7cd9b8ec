//! A file of signing keys.
//!
//! `cargo +nightly fuzz run signing_key_file`, in `federation/`.

#![no_main]

#[path = "../../tests/protocol/arbitrary.rs"]
#[expect(dead_code, reason = "each target calls one of its functions")]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arbitrary::signing_key_file(data));
