//! Ids, ranges and findings as lines for people and as JSON for programs.

use std::ops::Range;

use serde_json::{Value, json};
use tidegate_log::inspect::Finding;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

/// A replica as in the name of its directory.
pub(crate) fn replica((key, replica_gen): (ReplicaKey, ReplicaGen)) -> Value {
    json!({
        "topic_id": key.topic_id.0.to_string(),
        "partition": key.partition.0,
        "replica_gen": replica_gen.0.to_string(),
    })
}

fn offsets(range: &Range<Offset>) -> Value {
    json!({ "from": range.start.get(), "to": range.end.get() })
}

/// A finding for programs.
pub(crate) fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.name(),
        "problem": finding.kind.is_problem(),
        "file": finding.path.to_string_lossy(),
        "replica": finding.replica.map(replica),
        "bytes": finding.bytes.as_ref().map(|range| json!({ "from": range.start, "to": range.end })),
        "offsets": finding.offsets.as_ref().map(offsets),
        "what": finding.what,
    })
}
