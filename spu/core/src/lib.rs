//! The pure replica machine.
