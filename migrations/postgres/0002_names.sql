-- Names that are somebody's: of nodes that joined with tokens that name none, of which one gets a name,
-- and of topics that were deleted, which are looked up when one of that name is made.

-- Names that bearers of tokens without a name took, each by one of them. A name is free again when the
-- token is gone. Not a column of the tokens: those who run meanwhile read all columns that there are.
CREATE TABLE taken_names (
    name text  PRIMARY KEY,
    hash bytea NOT NULL UNIQUE REFERENCES join_tokens (hash) ON DELETE CASCADE
);

CREATE INDEX tombstones_by_name ON tombstones (kind, name);
