//! Harness, integration and end-to-end tests, benchmarks and the tidy check.
