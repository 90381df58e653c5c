//! Single-use tickets for browsers.
