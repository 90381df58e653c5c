//! The pure topology machine.
