-- MACs over the rows under a key in a root of trust (docs/formats.md, "Record seals"). Null only in rows from before this migration,
-- which the first start after it seals.
ALTER TABLE object ADD COLUMN seal bytea;
ALTER TABLE object_version ADD COLUMN seal bytea;
CREATE INDEX object_unsealed ON object (id) WHERE seal IS NULL;
CREATE INDEX object_version_unsealed ON object_version (object_id) WHERE seal IS NULL;
