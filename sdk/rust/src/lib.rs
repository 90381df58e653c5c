//! The native Rust client.
