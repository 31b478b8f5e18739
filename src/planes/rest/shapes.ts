import { ALGORITHM_NAMES, ALGORITHMS, type AlgorithmKind, HASHES, KEY_SPEC_NAMES, KEY_USAGES } from '@aegis/rot-spi/vocabulary';
import { type Static, Type } from '@sinclair/typebox';
import { LIFECYCLE_STATES, OBJECT_TYPES, REVOCATION_REASONS, ROLES } from '../../domain/index.js';
import { bytesOut, closed, int, jsonPairs, nullable, text, textPairs, timestamp, timestampOut, word } from './schema-kinds.js';

/** The shapes that several routes share. A schema with a `title` becomes a component of the OpenAPI document. */

// --- words
export const Spec = word(KEY_SPEC_NAMES, { description: 'Key specification: family and size.' });
export const Usage = word(KEY_USAGES);
export const State = word(LIFECYCLE_STATES);
export const ObjectKind = word(OBJECT_TYPES);
export const Reason = word(REVOCATION_REASONS, { description: 'Revocation reason (KMIP 1.4 §9.1.3.2.19).' });
export const Hash = word(HASHES);
export const RoleName = word(ROLES);
const Protection = word(['software', 'hsm', 'external'] as const);
export const PrincipalKindName = word(['human', 'service', 'agent'] as const);
/** Algorithms of these kinds only, so that a wrong one is told at the door with those that would do. */
export const algorithm = (description: string, ...kinds: AlgorithmKind[]) =>
  word(
    ALGORITHM_NAMES.filter((name) => kinds.includes(ALGORITHMS[name].kind)),
    { description },
  );
export const AlgorithmOut = Type.String({ description: 'Algorithm used.' });

// --- references. Control characters never reach the store (PostgreSQL refuses U+0000 in text).
const PRINTABLE = '^[^\\u0000-\\u001f\\u007f]+$';
export const KeyRef = Type.String({
  minLength: 1,
  maxLength: 300,
  pattern: PRINTABLE,
  description: 'Key id, alias, or `alias@version`.',
});
export const Id = Type.String({ minLength: 1, maxLength: 128, pattern: PRINTABLE, description: 'Id.' });
export const Name = Type.String({ minLength: 1, maxLength: 256, pattern: PRINTABLE });
export const ByKey = closed({ id: KeyRef });
export const ById = closed({ id: Id });
export const ByName = closed({ name: Type.String({ minLength: 1, maxLength: 128, pattern: PRINTABLE, description: 'Policy name.' }) });
export const KeyVersionNumber = int(1, 1_000_000_000, { description: 'Pins one key version; default the current one.' });

// --- pages
const PAGE_LIMIT = 1000;
export const paging = {
  limit: Type.Optional(int(1, PAGE_LIMIT, { description: 'Items per page. Default 100.' })),
  cursor: Type.Optional(text(2048, { description: 'Opaque; from `next` of the page before.' })),
};

// --- keys, in
const UsageLimitsIn = closed({
  unit: word(['byte', 'object'] as const, { description: '`object` counts operations.' }),
  total: int(1, Number.MAX_SAFE_INTEGER),
});
const DAY_MS = 86_400_000;
const RotationIn = closed(
  {
    everyDays: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 36_500, description: 'Age of the current version, in days.' })),
    afterUses: Type.Optional(int(1, Number.MAX_SAFE_INTEGER, { description: 'Uses of the current version.' })),
  },
  { minProperties: 1, description: 'Automatic rotation when either bound is reached.' },
);
const LinkIn = closed({ type: text(64), target: text(128) });
const usages = Type.Array(Usage, { maxItems: KEY_USAGES.length, uniqueItems: true, description: 'What the key may be used for.' });
const names = Type.Array(Name, {
  maxItems: 32,
  uniqueItems: true,
  description: 'Aliases, unique in the tenant; the first is the display name.',
});
const linksIn = Type.Array(LinkIn, { maxItems: 64 });
const description = Type.String({ maxLength: 4096 });
const group = text(256, { description: 'Object group.' });

/** Fields of every request that makes an object; `toNewObject` turns them into the domain's words. */
export const newObjectFields = {
  name: Type.Optional({ ...Name, description: 'Display name and alias.' } as typeof Name),
  names: Type.Optional(names),
  alias: Type.Optional({ ...Name, description: 'Further alias.' } as typeof Name),
  aliases: Type.Optional(names),
  description: Type.Optional(description),
  usage: Type.Optional(usages),
  activate: Type.Optional(
    Type.Boolean({ description: 'Make it active at once. Default false: pre-active until `activate` or its activation date.' }),
  ),
  exportable: Type.Optional(Type.Boolean({ description: 'Whether it may ever leave. Default false; never changes.' })),
  root: Type.Optional(text(128, { description: 'Root of trust. Default by configuration.' })),
  protection: Type.Optional(Protection),
  tags: Type.Optional(textPairs('Tags. `publish=jwks` puts the public key into /.well-known/jwks.json.')),
  group: Type.Optional(group),
  activationDate: Type.Optional(timestamp('When it becomes active.')),
  processStartDate: Type.Optional(timestamp('Earliest use for processing (decrypt, verify).')),
  protectStopDate: Type.Optional(timestamp('Latest use for protecting (encrypt, sign).')),
  deactivationDate: Type.Optional(timestamp('When it is deactivated.')),
  usageLimits: Type.Optional(UsageLimitsIn),
  rotation: Type.Optional(RotationIn),
  links: Type.Optional(linksIn),
  attributes: Type.Optional(jsonPairs('Custom attributes, kept and given back.')),
};

/** Fields of PATCH /v1/keys/{id}; null deletes. */
export const changeFields = {
  names: Type.Optional(names),
  description: Type.Optional(nullable(description)),
  tags: Type.Optional(textPairs('Replaces all tags.')),
  group: Type.Optional(nullable(group)),
  activationDate: Type.Optional(nullable(timestamp('When it becomes active.'))),
  processStartDate: Type.Optional(nullable(timestamp('Earliest use for processing.'))),
  protectStopDate: Type.Optional(nullable(timestamp('Latest use for protecting.'))),
  deactivationDate: Type.Optional(nullable(timestamp('When it is deactivated.'))),
  usageLimits: Type.Optional(nullable(UsageLimitsIn)),
  rotation: Type.Optional(nullable(RotationIn)),
  links: Type.Optional(linksIn),
  attributes: Type.Optional(jsonPairs('Merged by name; null deletes one.')),
  lease: Type.Optional(closed({ seconds: int(1, 31_536_000) })),
};
export { DAY_MS };

// --- keys, out
const Provenance = Type.Object(
  { local: Type.Boolean(), alwaysSensitive: Type.Boolean(), neverExtractable: Type.Boolean() },
  { description: 'As the root of trust reports it; asserted, not proof.' },
);
export const ProvenanceOut = Provenance;
const Version = Type.Object({
  version: Type.Integer(),
  state: word(['current', 'superseded', 'destroyed'] as const),
  root: Type.String(),
  bits: Type.Integer(),
  createdAt: timestampOut('When it was made.'),
  destroyedAt: Type.Optional(timestampOut('When its material was destroyed.')),
  publicKey: Type.Optional(Type.String({ description: 'PEM SubjectPublicKeyInfo, for pairs.' })),
  provenance: Provenance,
});

const keyFields = {
  id: Type.String(),
  name: Type.Optional(Type.String({ description: 'Display name: the first alias.' })),
  names: Type.Array(Type.String(), { description: 'All aliases.' }),
  type: ObjectKind,
  spec: Type.Optional(Spec),
  state: State,
  archived: Type.Boolean(),
  usage: Type.Array(Usage),
  exportable: Type.Boolean(),
  root: Type.String({ description: 'Root of trust that holds it.' }),
  protection: Protection,
  currentVersion: Type.Integer(),
  description: Type.Optional(Type.String()),
  tags: textPairs('Tags.'),
  group: Type.Optional(Type.String()),
  tenant: Type.String(),
  owner: Type.String({ description: 'Principal that made it.' }),
  createdAt: timestampOut('When it was made.'),
  changedAt: timestampOut('Last change.'),
  initialDate: Type.Optional(timestampOut('KMIP Initial Date.')),
  activationDate: Type.Optional(timestampOut('When it became or becomes active.')),
  processStartDate: Type.Optional(timestampOut('Earliest use for processing.')),
  protectStopDate: Type.Optional(timestampOut('Latest use for protecting.')),
  deactivationDate: Type.Optional(timestampOut('When it was or is deactivated.')),
  compromiseOccurrenceDate: Type.Optional(timestampOut('When it was compromised, as far as known.')),
  compromiseDate: Type.Optional(timestampOut('When the compromise was recorded.')),
  destroyDueDate: Type.Optional(timestampOut('When the pending destroy takes effect; cancellable until then.')),
  destroyDate: Type.Optional(timestampOut('When it was destroyed.')),
  archiveDate: Type.Optional(timestampOut('When it was archived.')),
  usageLimits: Type.Optional(Type.Object({ unit: word(['byte', 'object'] as const), total: Type.Number(), remaining: Type.Number() })),
  rotation: Type.Optional(Type.Object({ everyDays: Type.Optional(Type.Number()), afterUses: Type.Optional(Type.Number()) })),
  uses: Type.Number({ description: 'Uses of the current version.' }),
  links: Type.Array(Type.Object({ type: Type.String(), target: Type.String() })),
  revocation: Type.Optional(Type.Object({ reason: Reason, message: Type.Optional(Type.String()) })),
  attributes: jsonPairs('Custom attributes.'),
  lease: Type.Optional(Type.Object({ seconds: Type.Number(), until: timestampOut('End of the lease.') })),
  publicKeyId: Type.Optional(Type.String({ description: 'The public half, for pairs.' })),
  content: Type.Optional(bytesOut('Public bytes of certificates, requests and public opaque objects.')),
  revision: Type.Integer({ description: 'The ETag.' }),
};
const KeySummary = Type.Object(keyFields, { title: 'KeySummary' });
const keyDetails = {
  ...keyFields,
  publicKey: Type.Optional(Type.String({ description: 'PEM SubjectPublicKeyInfo of the current version, for pairs.' })),
  versions: Type.Array(Version),
};
export const Key = Type.Object(keyDetails, { title: 'Key', description: 'A managed key. Key bytes are never part of it.' });
export type KeyWire = Static<typeof Key>;
export type KeySummaryWire = Static<typeof KeySummary>;
export const KeyWithCiphertext = Type.Object({ ...keyDetails, ciphertext: bytesOut('Encapsulated key.') }, { title: 'EncapsulatedKey' });
export const ImportWrappingKey = Type.Object(
  { ...keyDetails, algorithms: Type.Array(AlgorithmOut, { description: 'Wrapping algorithms it accepts.' }) },
  { title: 'ImportWrappingKey' },
);
export const page = <S extends Parameters<typeof Type.Array>[0]>(items: S, title: string) =>
  Type.Object(
    {
      items: Type.Array(items),
      next: Type.Optional(Type.String({ description: 'Cursor of the next page; absent on the last.' })),
      total: Type.Optional(Type.Integer({ description: 'Where asked for with `count=true`.' })),
    },
    { title },
  );
export const KeyPage = page(KeySummary, 'KeyPage');

// --- identity
export const CertificateIn = closed(
  {
    fingerprint: Type.Optional(
      Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the certificate DER, lower-case hex, no colons.' }),
    ),
    subject: Type.Optional(text(1024, { description: 'RFC 4514, most specific first: `CN=app,O=Bank`.' })),
    subjectAltName: Type.Optional(text(1024, { description: 'As `DNS:app.bank.example`, `URI:spiffe://…`, `email:…`.' })),
  },
  { minProperties: 1, description: 'Client certificate this principal presents.' },
);
export const PrincipalOut = Type.Object(
  {
    id: Type.String(),
    kind: PrincipalKindName,
    name: Type.String(),
    tenant: Type.String(),
    roles: Type.Array(RoleName),
    tags: textPairs('Tags.'),
    disabled: Type.Boolean(),
    createdAt: timestampOut('When it was made.'),
    parentId: Type.Optional(Type.String({ description: 'The human an agent acts for.' })),
    purpose: Type.Optional(Type.String()),
    model: Type.Optional(Type.String()),
    revision: Type.Integer({ description: 'The ETag.' }),
  },
  { title: 'Principal' },
);
const tokenFields = {
  id: Type.String(),
  principalId: Type.String(),
  tenant: Type.String(),
  name: Type.String(),
  prefix: Type.String({ description: 'First characters, to recognise it by.' }),
  scope: Type.Optional(Type.Array(Type.String())),
  createdAt: timestampOut('When it was issued.'),
  expiresAt: Type.Optional(timestampOut('When it expires.')),
  revokedAt: Type.Optional(timestampOut('When it was revoked.')),
  lastUsedAt: Type.Optional(timestampOut('Last use.')),
};
export const TokenOut = Type.Object(tokenFields, { title: 'Token' });
export const TokenIssued = Type.Object(
  { ...tokenFields, token: Type.String({ description: 'The secret: in this answer and nowhere else, ever.' }) },
  { title: 'IssuedToken' },
);

// --- policies
const policyFields = {
  name: Type.String(),
  version: Type.Integer({ description: 'The ETag.' }),
  tenant: Type.String(),
  mode: word(['enforce', 'dry-run'] as const),
  active: Type.Boolean(),
  source: Type.String({ description: 'YAML or JSON as written.' }),
  createdAt: timestampOut('When this version was written.'),
  createdBy: Type.String(),
};
export const PolicyOut = Type.Object(policyFields, { title: 'Policy' });
export const Problem = Type.Object(
  {
    line: Type.Integer({ description: '1-based.' }),
    column: Type.Optional(Type.Integer()),
    path: Type.String(),
    reason: Type.String(),
  },
  { title: 'PolicyProblem' },
);
export const PolicyWritten = Type.Object({ ...policyFields, problems: Type.Array(Problem) }, { title: 'WrittenPolicy' });

// --- audit
const Chain = Type.Object({
  node: Type.String(),
  boot: Type.String(),
  sequence: Type.Integer(),
  previous: Type.String(),
  hash: Type.String(),
});
export const AuditRecordOut = Type.Object(
  {
    id: Type.String(),
    at: timestampOut('Time of the node.'),
    tenant: Type.String(),
    node: Type.String(),
    plane: Type.String(),
    requestId: Type.String(),
    actor: Type.Object({
      kind: Type.String(),
      id: Type.String(),
      name: Type.String(),
      parentId: Type.Optional(Type.String()),
      method: Type.String(),
      credentialId: Type.Optional(Type.String()),
    }),
    operation: Type.String(),
    action: Type.String(),
    resource: Type.Optional(Type.Object({ type: Type.String(), id: Type.String(), name: Type.Optional(Type.String()) })),
    outcome: word(['intent', 'success', 'refused', 'failed'] as const),
    fault: Type.Optional(Type.String()),
    statement: Type.Optional(Type.String({ description: 'Policy statement that decided.' })),
    risk: Type.Optional(Type.Object({ score: Type.Number(), reasons: Type.Array(Type.String()) })),
    source: Type.Optional(Type.String()),
    durationUs: Type.Optional(Type.Number()),
    detail: Type.Optional(jsonPairs('Allow-listed facts about the call.')),
    chain: Type.Optional(Chain),
  },
  { title: 'AuditRecord' },
);
export const AuditHealthOut = Type.Object(
  {
    state: word(['ok', 'degraded', 'failing'] as const),
    detail: Type.Optional(Type.String()),
    pending: Type.Integer(),
    unsequenced: Type.Integer(),
    lastDurableAt: Type.Optional(timestampOut('Last durable record.')),
    lastCheckpointAt: Type.Optional(timestampOut('Last signed checkpoint.')),
  },
  { title: 'AuditHealth' },
);

// --- service
export const RootOut = Type.Object(
  {
    id: Type.String(),
    kind: Type.String(),
    state: word(['ready', 'degraded', 'unavailable'] as const),
    isDefault: Type.Boolean(),
    hosts: Type.Integer(),
    detail: Type.Optional(Type.String()),
    fingerprint: Type.Optional(Type.String()),
    description: Type.Optional(Type.Unknown({ description: "The root's own capability report and module facts." })),
  },
  { title: 'Root' },
);
