-- The metadata of one cluster: rows of every kind, the outbox of everything that ever changed them,
-- the controller's lease, and what controllers remember beside the topology.

-- The oldest migration whose programs may still use this schema: raised by migrations that take
-- something away, never by those that add.
CREATE TABLE schema_floor (
    id    smallint PRIMARY KEY CHECK (id = 1),
    floor bigint   NOT NULL
);
INSERT INTO schema_floor VALUES (1, 1);

-- One row: the identity of this store, the revision and hash of the last commit, and the floors and
-- ceilings that only grow. Updated by every commit as one of its last statements: its lock is what
-- makes the order of revisions the order of commits. The room left in its page keeps updates there.
CREATE TABLE cluster (
    id               smallint PRIMARY KEY CHECK (id = 1),
    cluster_id       uuid     NOT NULL,
    store_id         uuid     NOT NULL,
    revision         bigint   NOT NULL DEFAULT 0,
    chain            bytea    NOT NULL CHECK (length(chain) = 32),
    events_floor     bigint   NOT NULL DEFAULT 0 CHECK (events_floor <= revision),
    next_producer_id bigint   NOT NULL DEFAULT 1,
    created_at_ms    bigint   NOT NULL
) WITH (fillfactor = 10);

-- Who took this store for the cluster's, though others had seen more or something else.
CREATE TABLE adoptions (
    store_id uuid   PRIMARY KEY,
    actor    text   NOT NULL,
    revision bigint NOT NULL,
    at_ms    bigint NOT NULL
);

-- The rows. A change is conditional on the version it was decided on. Keys compare by byte.
CREATE TABLE spus (
    row_key text   COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    value   jsonb  NOT NULL CHECK ((value ->> 'version')::bigint = version),
    fenced  boolean GENERATED ALWAYS AS ((value ->> 'fenced')::boolean) STORED,
    rack    text    GENERATED ALWAYS AS (value ->> 'rack') STORED
);

CREATE TABLE spu_groups (
    row_key text   COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    value   jsonb  NOT NULL CHECK ((value ->> 'version')::bigint = version)
);

CREATE TABLE topics (
    row_key            text   COLLATE "C" PRIMARY KEY,
    version            bigint NOT NULL CHECK (version > 0),
    value              jsonb  NOT NULL CHECK ((value ->> 'version')::bigint = version),
    name               text   COLLATE "C" NOT NULL UNIQUE GENERATED ALWAYS AS (value ->> 'name') STORED,
    partitions         int    GENERATED ALWAYS AS ((value ->> 'partitions')::int) STORED,
    replication_factor int    GENERATED ALWAYS AS ((value ->> 'replication_factor')::int) STORED
);

-- Whatever a program does: in-sync replicas and the leader are replicas.
CREATE TABLE partitions (
    row_key      text   COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL CHECK (version > 0),
    value        jsonb  NOT NULL CHECK ((value ->> 'version')::bigint = version),
    leader       bigint GENERATED ALWAYS AS ((value ->> 'leader')::bigint) STORED,
    leader_epoch bigint GENERATED ALWAYS AS ((value ->> 'leader_epoch')::bigint) STORED,
    CONSTRAINT isr_is_of_replicas CHECK (
        jsonb_path_query_array(value, '$.replicas[*].spu') @> jsonb_path_query_array(value, '$.isr[*].spu')),
    CONSTRAINT leader_is_a_replica CHECK (
        value ->> 'leader' IS NULL
        OR jsonb_path_query_array(value, '$.replicas[*].spu') @> (value -> 'leader'))
);

CREATE TABLE operations (
    row_key text   COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    value   jsonb  NOT NULL CHECK ((value ->> 'version')::bigint = version),
    state   text   GENERATED ALWAYS AS (value ->> 'state') STORED
);

-- Records of a deleted topic may be removed only because a row here names its id.
CREATE TABLE tombstones (
    kind          text   NOT NULL,
    row_key       text   COLLATE "C" NOT NULL,
    name          text   NOT NULL,
    revision      bigint NOT NULL,
    deleted_at_ms bigint NOT NULL,
    PRIMARY KEY (kind, row_key)
);

-- One row per revision: who asked, and the hash of the history so far. The id lets a lost answer to a
-- commit be looked up.
CREATE TABLE commits (
    revision    bigint PRIMARY KEY,
    commit_id   uuid   NOT NULL UNIQUE,
    actor       text   NOT NULL,
    request_id  text   NOT NULL,
    at_ms       bigint NOT NULL,
    lease_epoch bigint,
    chain       bytea  NOT NULL CHECK (length(chain) = 32)
);

-- The outbox, written in the transaction of the change: the rows as they became, or what was deleted.
-- Text, so that it comes back byte for byte.
CREATE TABLE events (
    revision bigint NOT NULL,
    seq      bigint NOT NULL,
    kind     text   NOT NULL,
    key      text   NOT NULL,
    op       text   NOT NULL CHECK (op IN ('put', 'delete')),
    payload  text   NOT NULL,
    PRIMARY KEY (revision, seq)
);

-- Who runs the controllers. The epoch has a unique index, so that a change of it conflicts with the
-- key-share locks of transactions that rely on it, while a renewal does not.
CREATE TABLE lease (
    id       smallint PRIMARY KEY CHECK (id = 1),
    holder   text     NOT NULL,
    epoch    bigint   NOT NULL UNIQUE,
    until_ms bigint   NOT NULL
) WITH (fillfactor = 10);
INSERT INTO lease VALUES (1, '', 0, 0);

-- Answers to control requests that carried an idempotency key.
CREATE TABLE receipts (
    principal     text   NOT NULL,
    key           text   NOT NULL,
    request_hash  bytea  NOT NULL,
    answer        text   NOT NULL,
    expires_at_ms bigint NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX receipts_expire ON receipts (expires_at_ms);

-- Secrets with which a node joins, once; only their hashes.
CREATE TABLE join_tokens (
    hash          bytea  PRIMARY KEY,
    role          text   NOT NULL,
    scope         text   NOT NULL,
    created_by    text   NOT NULL,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    used_by       text,
    used_at_ms    bigint,
    CHECK ((used_by IS NULL) = (used_at_ms IS NULL))
);

-- Certificates that the cluster's authority gave to nodes.
CREATE TABLE node_certificates (
    serial        text   PRIMARY KEY,
    node          text   NOT NULL,
    issued_at_ms  bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    revoked_at_ms bigint
);
CREATE INDEX node_certificates_of ON node_certificates (node, issued_at_ms);

-- For people: what is where.
CREATE VIEW partition_overview AS
SELECT t.name AS topic, (p.value ->> 'partition')::int AS partition, p.leader, p.leader_epoch,
       jsonb_path_query_array(p.value, '$.replicas[*].spu') AS replicas,
       jsonb_path_query_array(p.value, '$.isr[*].spu') AS isr,
       (p.value ->> 'min_isr')::int AS min_isr, p.version
FROM partitions p JOIN topics t ON t.row_key = p.value ->> 'topic_id'
ORDER BY 1, 2;
