-- Storage units, topics, partitions, and the outbox of everything that ever changed them.

-- One row: the identity of this store, the revision of the last commit, and the floors and ceilings
-- that only grow.
CREATE TABLE cluster (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    cluster_id       TEXT    NOT NULL,
    revision         INTEGER NOT NULL DEFAULT 0,
    events_floor     INTEGER NOT NULL DEFAULT 0,
    next_producer_id INTEGER NOT NULL DEFAULT 1,
    created_at_ms    INTEGER NOT NULL
) STRICT;

-- Every row below has a version; a change is conditional on the version it was decided on.
CREATE TABLE spus (
    spu         INTEGER PRIMARY KEY,
    version     INTEGER NOT NULL,
    storage_id  TEXT    NOT NULL,
    run_id      TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    persisted   INTEGER,
    fenced      INTEGER NOT NULL,
    draining    INTEGER NOT NULL,
    rack        TEXT
) STRICT;

CREATE TABLE topics (
    topic_id           TEXT    PRIMARY KEY,
    name               TEXT    NOT NULL UNIQUE,
    version            INTEGER NOT NULL,
    partitions         INTEGER NOT NULL,
    replication_factor INTEGER NOT NULL,
    min_in_sync        INTEGER,
    placement          TEXT    NOT NULL,
    config             TEXT    NOT NULL CHECK (json_valid(config)),
    created_at_ms      INTEGER NOT NULL,
    updated_at_ms      INTEGER NOT NULL
) STRICT;

CREATE TABLE partitions (
    topic_id     TEXT    NOT NULL,
    partition    INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    leader       INTEGER,
    leader_epoch INTEGER NOT NULL,
    replicas     TEXT    NOT NULL CHECK (json_valid(replicas)),
    isr          TEXT    NOT NULL CHECK (json_valid(isr)),
    min_isr      INTEGER NOT NULL,
    recovery_gen INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) STRICT, WITHOUT ROWID;

-- Records of a deleted topic may be removed only because a row here names its id.
CREATE TABLE tombstones (
    topic_id      TEXT    PRIMARY KEY,
    name          TEXT    NOT NULL,
    revision      INTEGER NOT NULL,
    deleted_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per revision: who asked. The id lets a lost answer to a commit be looked up.
CREATE TABLE commits (
    revision   INTEGER PRIMARY KEY,
    commit_id  TEXT    NOT NULL UNIQUE,
    actor      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    at_ms      INTEGER NOT NULL
) STRICT;

-- The outbox, written in the transaction of the change: the rows as they became, or what was deleted.
CREATE TABLE events (
    revision INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    op       TEXT    NOT NULL CHECK (op IN ('put', 'delete')),
    payload  TEXT    NOT NULL,
    PRIMARY KEY (revision, seq)
) STRICT, WITHOUT ROWID;
