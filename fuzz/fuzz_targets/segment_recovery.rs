//! Coverage-guided search with the body that the log's own tests run too.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegate_log::fuzz::segment_recovery(input));
