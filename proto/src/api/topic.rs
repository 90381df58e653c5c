//! Control plane: topics, cluster, partitions.
