-- Names that are somebody's: of nodes that joined with tokens that name none, of which one gets a name,
-- and of topics that were deleted, which are looked up when one of that name is made.

-- The node whose name the bearer of a token without a name took; none before, and for other tokens.
ALTER TABLE join_tokens ADD COLUMN took TEXT;
CREATE UNIQUE INDEX join_tokens_took ON join_tokens (took);

CREATE INDEX tombstones_by_name ON tombstones (kind, name);
