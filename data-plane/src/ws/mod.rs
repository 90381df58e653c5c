//! The WebSocket door: sessions, subscriptions, credit, produce.
