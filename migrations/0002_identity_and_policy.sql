CREATE TABLE principal (
  id text COLLATE "C" PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  roles text[] NOT NULL,
  tags jsonb NOT NULL,
  disabled boolean NOT NULL,
  created bigint NOT NULL,
  revision integer NOT NULL,
  parent_id text COLLATE "C",
  purpose text,
  model text,
  -- An agent always names the human it acts for.
  CHECK (kind <> 'agent' OR (parent_id IS NOT NULL AND purpose IS NOT NULL)),
  UNIQUE (tenant, name)
);
CREATE INDEX principal_by_creation ON principal (tenant, created, id);

CREATE TABLE certificate_binding (
  principal_id text COLLATE "C" PRIMARY KEY REFERENCES principal (id) ON DELETE CASCADE,
  tenant text COLLATE "C" NOT NULL,
  fingerprint text COLLATE "C",
  subject text COLLATE "C",
  subject_alt_name text COLLATE "C",
  CHECK (num_nonnulls(fingerprint, subject, subject_alt_name) > 0)
);
-- The same condition may lead to one principal only.
CREATE UNIQUE INDEX certificate_binding_once
  ON certificate_binding (coalesce(fingerprint, ''), coalesce(subject, ''), coalesce(subject_alt_name, ''));
CREATE INDEX certificate_binding_by_fingerprint ON certificate_binding (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE INDEX certificate_binding_by_subject ON certificate_binding (subject) WHERE subject IS NOT NULL;
CREATE INDEX certificate_binding_by_alt_name ON certificate_binding (subject_alt_name) WHERE subject_alt_name IS NOT NULL;

-- Only the SHA-256 of a token is stored.
CREATE TABLE token (
  id text COLLATE "C" PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  principal_id text COLLATE "C" NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
  name text NOT NULL,
  prefix text NOT NULL,
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  scope text[],
  created bigint NOT NULL,
  expires bigint,
  revoked bigint,
  -- Refreshed at most once a minute and node; for people, never for a decision.
  last_used bigint
);
CREATE INDEX token_by_creation ON token (tenant, created, id);
CREATE INDEX token_by_principal ON token (principal_id);

CREATE TABLE policy_document (
  tenant text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  source text NOT NULL,
  mode text NOT NULL,
  active boolean NOT NULL,
  created bigint NOT NULL,
  created_by text NOT NULL,
  PRIMARY KEY (tenant, name, version)
);
CREATE UNIQUE INDEX policy_document_active ON policy_document (tenant, name) WHERE active;

CREATE TABLE setting (
  tenant text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  value jsonb NOT NULL,
  PRIMARY KEY (tenant, name)
);

-- Answers of finished calls by the client's idempotency key. A claim without an answer is running.
CREATE TABLE idempotency (
  tenant text COLLATE "C" NOT NULL,
  principal_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  request_hash bytea NOT NULL,
  -- Boot id of the process that runs the call.
  claimed_by text NOT NULL,
  status integer,
  body text,
  expires bigint NOT NULL,
  PRIMARY KEY (tenant, principal_id, key)
);
CREATE INDEX idempotency_expiry ON idempotency (expires);
