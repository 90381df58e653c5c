//! The private routes.
