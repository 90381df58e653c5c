-- Rows of every kind in tables of one form: key, version, and the row as JSON; the columns beside them
-- are computed, for people and for constraints. Commits get the hash of the history, from here on:
-- events before it are dropped, and whoever follows them takes a snapshot. New beside them: the lease
-- of the controller, and what controllers remember beside the topology.

ALTER TABLE cluster ADD COLUMN store_id TEXT;
ALTER TABLE cluster ADD COLUMN chain BLOB;
UPDATE cluster SET events_floor = revision;

CREATE TABLE adoptions (
    store_id TEXT    PRIMARY KEY,
    actor    TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE spus RENAME TO spus_before;
CREATE TABLE spus (
    row_key TEXT    PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    value   TEXT    NOT NULL CHECK (value ->> 'version' = version),
    fenced  INTEGER GENERATED ALWAYS AS (value ->> 'fenced') VIRTUAL,
    rack    TEXT    GENERATED ALWAYS AS (value ->> 'rack') VIRTUAL
) STRICT, WITHOUT ROWID;
INSERT INTO spus (row_key, version, value)
SELECT CAST(spu AS TEXT), version,
       json_object('spu', spu, 'version', version, 'storage_id', storage_id, 'run_id', run_id,
                   'incarnation', incarnation, 'persisted', persisted,
                   'fenced', json(iif(fenced, 'true', 'false')),
                   'draining', json(iif(draining, 'true', 'false')), 'rack', rack)
FROM spus_before;
DROP TABLE spus_before;

CREATE TABLE spu_groups (
    row_key TEXT    PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    value   TEXT    NOT NULL CHECK (value ->> 'version' = version)
) STRICT, WITHOUT ROWID;

ALTER TABLE topics RENAME TO topics_before;
CREATE TABLE topics (
    row_key            TEXT    PRIMARY KEY,
    version            INTEGER NOT NULL CHECK (version > 0),
    value              TEXT    NOT NULL CHECK (value ->> 'version' = version),
    name               TEXT    NOT NULL UNIQUE GENERATED ALWAYS AS (value ->> 'name') STORED,
    partitions         INTEGER GENERATED ALWAYS AS (value ->> 'partitions') VIRTUAL,
    replication_factor INTEGER GENERATED ALWAYS AS (value ->> 'replication_factor') VIRTUAL
) STRICT, WITHOUT ROWID;
INSERT INTO topics (row_key, version, value)
SELECT topic_id, version,
       json_object('id', topic_id, 'name', name, 'version', version, 'partitions', partitions,
                   'replication_factor', replication_factor, 'min_in_sync', min_in_sync,
                   'placement', json(placement), 'config', json(config),
                   'created_at_ms', created_at_ms, 'updated_at_ms', updated_at_ms)
FROM topics_before;
DROP TABLE topics_before;

ALTER TABLE partitions RENAME TO partitions_before;
CREATE TABLE partitions (
    row_key      TEXT    PRIMARY KEY,
    version      INTEGER NOT NULL CHECK (version > 0),
    value        TEXT    NOT NULL CHECK (value ->> 'version' = version),
    leader       INTEGER GENERATED ALWAYS AS (value ->> 'leader') VIRTUAL,
    leader_epoch INTEGER GENERATED ALWAYS AS (value ->> 'leader_epoch') VIRTUAL
) STRICT, WITHOUT ROWID;
INSERT INTO partitions (row_key, version, value)
SELECT topic_id || '/' || partition, version,
       json_object('topic_id', topic_id, 'partition', partition, 'version', version, 'leader', leader,
                   'leader_epoch', leader_epoch, 'replicas', json(replicas), 'isr', json(isr),
                   'min_isr', min_isr, 'recovery_gen', recovery_gen,
                   'truncate_before', truncate_before)
FROM partitions_before;
DROP TABLE partitions_before;

CREATE TABLE operations (
    row_key TEXT    PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    value   TEXT    NOT NULL CHECK (value ->> 'version' = version),
    state   TEXT    GENERATED ALWAYS AS (value ->> 'state') VIRTUAL
) STRICT, WITHOUT ROWID;

ALTER TABLE tombstones RENAME TO tombstones_before;
CREATE TABLE tombstones (
    kind          TEXT    NOT NULL,
    row_key       TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    revision      INTEGER NOT NULL,
    deleted_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, row_key)
) STRICT, WITHOUT ROWID;
INSERT INTO tombstones SELECT 'topic', topic_id, name, revision, deleted_at_ms FROM tombstones_before;
DROP TABLE tombstones_before;

DROP TABLE commits;
CREATE TABLE commits (
    revision    INTEGER PRIMARY KEY,
    commit_id   TEXT    NOT NULL UNIQUE,
    actor       TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    at_ms       INTEGER NOT NULL,
    lease_epoch INTEGER,
    chain       BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;
DELETE FROM events;

CREATE TABLE lease (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    holder   TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
INSERT INTO lease VALUES (1, '', 0, 0);

CREATE TABLE receipts (
    principal     TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    request_hash  BLOB    NOT NULL,
    answer        TEXT    NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_expire ON receipts (expires_at_ms);

CREATE TABLE join_tokens (
    hash          BLOB    PRIMARY KEY,
    role          TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    created_by    TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_by       TEXT,
    used_at_ms    INTEGER,
    CHECK ((used_by IS NULL) = (used_at_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE node_certificates (
    serial        TEXT    PRIMARY KEY,
    node          TEXT    NOT NULL,
    issued_at_ms  INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX node_certificates_of ON node_certificates (node, issued_at_ms);
