//! The journal and the segments: the only code that touches record files.
