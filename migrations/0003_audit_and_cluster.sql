-- One row per chain (node, boot): its head, how far it is folded into the tree, and a fence.
-- The head moves in the transaction that inserts the records; a writer states the head it continues, so a chain cannot fork.
-- The fence is raised while an unknown outcome is being settled: a statement still on its way to the server then changes nothing.
CREATE TABLE audit_chain (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node text COLLATE "C" NOT NULL,
  boot text COLLATE "C" NOT NULL,
  sequence bigint NOT NULL,
  hash bytea NOT NULL,
  folded bigint NOT NULL DEFAULT 0,
  fence integer NOT NULL DEFAULT 0,
  started timestamptz NOT NULL DEFAULT now(),
  UNIQUE (node, boot),
  -- Chain rows of which nothing was committed yet have sequence 0 and an empty hash.
  CHECK (folded <= sequence)
) WITH (fillfactor = 50);

-- `canonical` is the RFC 8785 text that was hashed; the other columns only serve filters. Append-only and narrow in indexes.
CREATE TABLE audit_record (
  chain integer NOT NULL,
  sequence bigint NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  actor text COLLATE "C" NOT NULL,
  parent text COLLATE "C",
  action text COLLATE "C" NOT NULL,
  operation text COLLATE "C" NOT NULL,
  resource text COLLATE "C",
  outcome text COLLATE "C" NOT NULL,
  request_id text COLLATE "C" NOT NULL,
  plane text COLLATE "C" NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  canonical text NOT NULL,
  PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_record_by_time ON audit_record (tenant, at, chain, sequence);
CREATE INDEX audit_record_by_resource ON audit_record (resource, at) WHERE resource IS NOT NULL;

-- Leaves of the RFC 6962 tree, 32 bytes each, a run of them per row in tree order.
CREATE TABLE audit_leaf (
  first bigint PRIMARY KEY,
  count integer NOT NULL CHECK (count > 0),
  hashes bytea NOT NULL,
  CHECK (octet_length(hashes) = count * 32)
);

CREATE TABLE audit_tree (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  size bigint NOT NULL,
  peaks text[] NOT NULL
);
INSERT INTO audit_tree (size, peaks) VALUES (0, '{}');

CREATE TABLE audit_checkpoint (
  tree_size bigint NOT NULL,
  at bigint NOT NULL,
  body text NOT NULL,
  PRIMARY KEY (tree_size, at)
);
CREATE INDEX audit_checkpoint_by_time ON audit_checkpoint (at);

-- A process and its lease. `lease_until` is by the clock of the database.
CREATE TABLE node (
  id text COLLATE "C" NOT NULL,
  boot text COLLATE "C" NOT NULL,
  started bigint NOT NULL,
  lease_until bigint NOT NULL,
  seen_epoch bigint NOT NULL,
  PRIMARY KEY (id, boot)
) WITH (fillfactor = 50);

CREATE TABLE cluster (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  epoch bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO cluster (epoch) VALUES (0);

-- What changed in each epoch, for the caches of the other nodes. One row per epoch without gaps; pruned once every live node has seen it.
CREATE TABLE change_log (
  epoch bigint PRIMARY KEY,
  objects text[] NOT NULL,
  principals text[] NOT NULL,
  tokens text[] NOT NULL,
  policies boolean NOT NULL,
  settings boolean NOT NULL
);
