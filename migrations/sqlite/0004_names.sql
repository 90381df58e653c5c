-- Names that are somebody's: of nodes that joined with tokens that name none, of which one gets a name,
-- and of topics that were deleted, which are looked up when one of that name is made.

-- Names that bearers of tokens without a name took, each by one of them. A name is free again when the
-- token is gone.
CREATE TABLE taken_names (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE REFERENCES join_tokens (hash) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_by_name ON tombstones (kind, name);
