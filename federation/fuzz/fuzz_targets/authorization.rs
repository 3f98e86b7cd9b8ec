//! An Authorization header and the body that goes with it.
//!
//! `cargo +nightly fuzz run authorization`, in `federation/`.

#![no_main]

#[path = "../../tests/protocol/arbitrary.rs"]
#[expect(dead_code, reason = "each target calls one of its functions")]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arbitrary::authorization(data));
