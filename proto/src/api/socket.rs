//! WebSocket frames of the JSON subprotocol.
