//! The public edge: one router from the planes, with pages and cross-origin rules.
