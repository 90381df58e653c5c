//! An in-memory implementation of the partitions door, for tests of the surface above it.
