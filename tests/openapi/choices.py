"""What valid requests choose, so that most of them get somewhere and none of them grows the cluster without bound.

Invalid requests stay as they are, and so does what a link leads to.
"""

import itertools

import schemathesis
from schemathesis import GenerationMode
from schemathesis.generation.meta import TestPhase

# Made before the run, with two partitions.
TOPIC = "flights"
PARTITIONS = 2
# Of the cluster, from 1.
UNITS = 2
# What one request may make.
PARTITIONS_MAX = 8
UNITS_MAX = 8
RECORDS = {
    "produce_records",
    "produce_to_partition",
    "fetch_records",
    "fetch_partition",
    "get_offsets",
    "list_sealed_pages",
    "stream_events",
}
PRODUCER = ("Producer-Id", "Producer-Epoch", "Producer-Seq")

number = itertools.count(1)


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def topic_body(body):
    """Of what a topic may ask for, storage units of this version keep one copy."""
    body = {name: value for name, value in body.items() if name not in ("assignment", "min_in_sync")}
    if body.get("placement") == "manual":
        body["placement"] = "computed"
    if body.get("replication_factor") is not None:
        body["replication_factor"] = 1
    if body.get("partitions") is not None:
        body["partitions"] = 1 + int(body["partitions"]) % PARTITIONS_MAX
    return body


def appended(case):
    """Headers and parameters that belong together, or are for one kind of body."""
    headers = case.headers or {}
    if not all(name in headers for name in PRODUCER):
        for name in PRODUCER:
            headers.pop(name, None)
    elif "Idempotency-Key" in headers:
        headers.pop("Idempotency-Key")
    if case.media_type != "application/x-ndjson" and case.query:
        case.query.pop("key", None)


@schemathesis.hook
def map_case(context, case):
    if not is_valid(case) or case.meta.phase.name == TestPhase.COVERAGE:
        return case
    operation = case.operation.definition.raw.get("operationId")
    if operation in ("create_topic", "ensure_topic") and isinstance(case.body, dict):
        case.body = topic_body(case.body)
    if operation in ("create_spu_group", "ensure_spu_group") and isinstance(case.body, dict):
        if case.body.get("replicas") is not None:
            case.body["replicas"] = 1 + int(case.body["replicas"]) % UNITS_MAX
    if operation == "reassign_partition" and isinstance(case.body, dict) and case.body.get("replicas"):
        case.body["replicas"] = [1 + int(case.body["replicas"][0]) % UNITS]
    if operation in ("produce_records", "produce_to_partition"):
        appended(case)
    if case.meta.phase.name == TestPhase.STATEFUL and case.method == "DELETE" and case.query:
        # A walk takes what it deleted for gone.
        case.query.pop("dry_run", None)
    if operation in RECORDS and case.meta.phase.name == TestPhase.FUZZING:
        case.path_parameters["topic"] = TOPIC
        if "partition" in case.path_parameters:
            case.path_parameters["partition"] = int(case.path_parameters["partition"]) % PARTITIONS
    return case


@schemathesis.hook
def before_call(context, case, kwargs):
    """A request that is generated again is another one: with the same key it would be answered as the first."""
    if is_valid(case) and case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}{next(number)}"
