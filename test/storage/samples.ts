import { createHash, randomUUID } from 'node:crypto';
import {
  type AuditRecord,
  type Change,
  type Fault,
  type ManagedObject,
  type ObjectVersion,
  type PolicyDocument,
  type Principal,
  type StoredToken,
  toKeyHandle,
} from '../../src/domain/index.js';
import type { ChainedRecord, Storage } from '../../src/storage/ports.js';

export const NOW = 1_790_000_000_000;

export const sampleVersion = (objectId: string, more: Partial<ObjectVersion> = {}): ObjectVersion => ({
  objectId,
  tenant: 'acme',
  version: 1,
  state: 'current',
  rootId: 'soft',
  rootFingerprint: 'f'.repeat(64),
  reference: Uint8Array.from([1, 2, 3, 255, 0]),
  bits: 256,
  createdAt: NOW,
  provenance: { local: true, alwaysSensitive: true, neverExtractable: true },
  revision: 1,
  ...more,
});

export const sampleObject = (more: Partial<ManagedObject> = {}): ManagedObject => ({
  id: toKeyHandle(randomUUID()),
  tenant: 'acme',
  type: 'symmetric-key',
  spec: 'aes-256',
  usage: ['encrypt', 'decrypt'],
  state: 'active',
  archived: false,
  exportable: false,
  protection: 'software',
  rootId: 'soft',
  currentVersion: 1,
  names: [],
  tags: {},
  dates: { created: NOW, lastChange: NOW },
  uses: 0,
  links: [],
  owner: 'alice',
  attributes: {},
  revision: 1,
  ...more,
});

export const insertOf = (
  object: ManagedObject,
  versions: readonly ObjectVersion[] = [sampleVersion(object.id, { tenant: object.tenant })],
): Change => ({
  kind: 'insert-object',
  object,
  versions,
});

export const samplePrincipal = (more: Partial<Principal> = {}): Principal =>
  ({
    id: randomUUID(),
    tenant: 'acme',
    kind: 'service',
    name: `service-${randomUUID().slice(0, 8)}`,
    roles: ['user'],
    tags: {},
    disabled: false,
    createdAt: NOW,
    revision: 1,
    ...more,
  }) as Principal;

export const sampleToken = (principal: Principal, more: Partial<StoredToken> = {}): StoredToken => ({
  id: randomUUID(),
  tenant: principal.tenant,
  principalId: principal.id,
  name: 'ci',
  prefix: 'aegis_ab',
  hash: createHash('sha256').update(randomUUID()).digest(),
  createdAt: NOW,
  ...more,
});

export const samplePolicy = (more: Partial<PolicyDocument> = {}): PolicyDocument => ({
  tenant: 'acme',
  name: 'base',
  version: 1,
  source: 'statements: []',
  mode: 'enforce',
  active: true,
  createdAt: NOW,
  createdBy: 'alice',
  ...more,
});

const sampleRecord = (more: Partial<AuditRecord> = {}): AuditRecord => ({
  id: randomUUID(),
  tenant: 'acme',
  at: NOW,
  node: 'node-1',
  plane: 'rest',
  requestId: 'r-1',
  actor: { kind: 'service', id: 'alice', name: 'alice', method: 'token' },
  operation: 'sign',
  action: 'keys:sign',
  outcome: 'success',
  ...more,
});

/** A writer of one chain, as simple as can be: it hashes like the journal does, but groups nothing. */
export const makeChainWriter = (storage: Storage, node = 'node-1', boot: string = randomUUID()) => {
  let sequence = 0;
  let previous = createHash('sha256').update(`aegis-audit-chain:${node}:${boot}`).digest('hex');
  const link = (record: AuditRecord): ChainedRecord => {
    const canonical = JSON.stringify(record);
    const hash = createHash('sha256')
      .update(previous + canonical)
      .digest('hex');
    const chained = { record, canonical, chain: { node, boot, sequence: sequence + 1, previous, hash } };
    sequence += 1;
    previous = hash;
    return chained;
  };
  const commit = async (
    items: readonly (readonly Change[])[],
    record: (fault: Fault | undefined, index: number) => Partial<AuditRecord> = () => ({}),
  ): Promise<readonly (Fault | undefined)[]> => {
    const before = { sequence, previous };
    try {
      return await storage.journal.commitGroup(
        items.map((changes) => ({ changes })),
        (faults) =>
          faults.map((fault, index) =>
            link(sampleRecord({ node, ...(fault === undefined ? {} : { outcome: 'failed', fault: fault.code }), ...record(fault, index) })),
          ),
      );
    } catch (error) {
      ({ sequence, previous } = before);
      throw error;
    }
  };
  return {
    node,
    boot,
    commit,
    /** One call with its changes; its fault. */
    one: async (...changes: Change[]): Promise<Fault | undefined> => (await commit([changes]))[0],
    head: () => ({ sequence, hash: previous }),
  };
};
