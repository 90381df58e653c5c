//! Coverage-guided search with the body that the smoke test runs too.

#![no_main]

#[path = "../../proto/tests/fuzz_bodies/mod.rs"]
#[expect(dead_code, reason = "each target uses one body")]
mod fuzz_bodies;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::replication_frames(input));
