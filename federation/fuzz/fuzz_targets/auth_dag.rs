//! Stored chunks of an auth DAG.
//!
//! `cargo +nightly fuzz run auth_dag`, in `federation/`.

#![no_main]

#[path = "../../tests/protocol/arbitrary.rs"]
#[expect(dead_code, reason = "each target calls one of its functions")]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arbitrary::auth_dag(data));
