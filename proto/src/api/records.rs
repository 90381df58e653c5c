//! Produce, fetch and offsets: request and answer bodies.
