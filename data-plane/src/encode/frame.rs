//! Records frames, encoded once per stored batch and shared by all subscribers.
