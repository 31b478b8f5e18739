-- Managed objects, their names, versions and use counters.
-- Text that is compared or ordered is COLLATE "C", so that order, uniqueness and prefix search do not depend on the locale of the database.
-- Every date is milliseconds since the Unix epoch, UTC.

CREATE TABLE object (
  id text COLLATE "C" PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  spec text COLLATE "C",
  usage text[] NOT NULL,
  state text COLLATE "C" NOT NULL,
  archived boolean NOT NULL,
  exportable boolean NOT NULL,
  protection text NOT NULL,
  root_id text COLLATE "C" NOT NULL,
  current_version integer NOT NULL,
  -- When the current version was made; rotation by age counts from here.
  current_since bigint,
  -- In the caller's order, the first is the display name; object_name holds the same names for uniqueness and search.
  names text[] NOT NULL,
  description text,
  tags jsonb NOT NULL,
  object_group text COLLATE "C",
  created bigint NOT NULL,
  initial bigint,
  activation bigint,
  process_start bigint,
  protect_stop bigint,
  deactivation bigint,
  compromise_occurrence bigint,
  compromise bigint,
  destroy_due bigint,
  destroyed bigint,
  archived_at bigint,
  last_change bigint NOT NULL,
  limit_unit text,
  limit_total bigint,
  rotation_every_ms bigint,
  rotation_after_uses bigint,
  -- Set once by the statement that counts uses when rotation_after_uses is reached: the counter itself lives in object_usage.
  use_due boolean NOT NULL DEFAULT false,
  links jsonb NOT NULL,
  revocation jsonb,
  owner text COLLATE "C" NOT NULL,
  attributes jsonb NOT NULL,
  content bytea,
  lease jsonb,
  revision integer NOT NULL,
  -- The earliest moment at which the scheduler has work with this object.
  next_due bigint GENERATED ALWAYS AS (
    LEAST(
      CASE WHEN state = 'pre-active' THEN activation END,
      CASE WHEN state IN ('pre-active', 'active') THEN deactivation END,
      -- In any state: on a destroyed object it marks a destruction that its root has not confirmed yet.
      destroy_due,
      CASE WHEN state = 'active' AND NOT archived THEN current_since + rotation_every_ms END,
      CASE WHEN state = 'active' AND NOT archived AND use_due THEN 0 END
    )
  ) STORED
) WITH (fillfactor = 90);

CREATE INDEX object_by_creation ON object (tenant, created, id);
CREATE INDEX object_by_type ON object (tenant, type, created, id);
CREATE INDEX object_by_spec ON object (tenant, spec, created, id) WHERE spec IS NOT NULL;
CREATE INDEX object_by_state ON object (tenant, state, created, id);
CREATE INDEX object_by_group ON object (tenant, object_group, created, id) WHERE object_group IS NOT NULL;
CREATE INDEX object_by_activation ON object (tenant, activation) WHERE activation IS NOT NULL;
CREATE INDEX object_due ON object (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX object_by_tag ON object USING gin (tags jsonb_path_ops) WHERE tags <> '{}'::jsonb;
CREATE INDEX object_by_attribute ON object USING gin (attributes jsonb_path_ops) WHERE attributes <> '{}'::jsonb;
CREATE INDEX object_by_link ON object USING gin (links jsonb_path_ops) WHERE links <> '[]'::jsonb;

CREATE TABLE object_name (
  tenant text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  object_id text COLLATE "C" NOT NULL REFERENCES object (id),
  PRIMARY KEY (tenant, name)
);
CREATE INDEX object_name_by_object ON object_name (object_id);

CREATE TABLE object_version (
  object_id text COLLATE "C" NOT NULL REFERENCES object (id),
  version integer NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL,
  root_id text COLLATE "C" NOT NULL,
  root_fingerprint text NOT NULL,
  reference bytea NOT NULL,
  public_key bytea,
  bits integer NOT NULL,
  created bigint NOT NULL,
  local boolean NOT NULL,
  always_sensitive boolean NOT NULL,
  never_extractable boolean NOT NULL,
  digest bytea,
  destroyed bigint,
  revision integer NOT NULL,
  PRIMARY KEY (object_id, version)
);

-- Hot counters, apart from the wide row: counting a use touches one narrow row and no index (HOT update).
-- A row exists once the object is limited or was used.
CREATE TABLE object_usage (
  object_id text COLLATE "C" PRIMARY KEY,
  uses bigint NOT NULL DEFAULT 0,
  -- Null when the object has no usage limit.
  remaining bigint CHECK (remaining >= 0)
) WITH (fillfactor = 50);
